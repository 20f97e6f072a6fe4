"""Keys: who may call the API. Removable: `API_AUTH=none` switches it off."""
