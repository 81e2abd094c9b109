"""The page that shows executions live: its files. `gateway.http.static` serves them.

It runs on the JavaScript package in `gateway/client`, and on nothing else. All that it says is in
`index.html`, `en.js` and `pt.js`. After a change of a script, a style or `index.html`, `make
bundle` makes the files again that are served.
"""
