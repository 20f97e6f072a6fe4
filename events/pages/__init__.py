"""The pages of webhooks in the console: see `console.extensions`."""
