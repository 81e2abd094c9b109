"""The JavaScript package: `gateway.http.static` serves it. No Python imports it."""
