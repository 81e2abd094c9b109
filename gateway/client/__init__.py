"""The JavaScript package: `gateway.http.client` serves it. No Python imports it."""
