"""The page that shows executions live: its files. `gateway.http.static` serves them.

It runs on the JavaScript package in `gateway/client`, and on nothing else.
"""
