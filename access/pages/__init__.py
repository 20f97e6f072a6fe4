"""The pages of keys in the console: see `console.extensions`."""
