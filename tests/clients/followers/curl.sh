#!/bin/sh
# curl reads one stream; the loop around it comes back, with the last id that it has kept.
kept=$(mktemp -d)
while :; do
    last=$(cat "$kept/id" 2>/dev/null)
    curl -sN -H "Authorization: Bearer $TOKEN" -H "X-Organization-ID: acme" \
        ${last:+-H "Last-Event-ID: $last"} "$STREAM_URL" |
        while IFS= read -r line; do
            case $line in
            "id: "*) echo "${line#id: }" >"$kept/id" ;;
            "event: execution:completed") touch "$kept/over" ;;
            'data: {"id"'*) printf '%s\n' "${line#data: }" ;;
            esac
        done
    [ -e "$kept/over" ] && break
    echo '{"again": true}'
    sleep 1
done
rm -r "$kept"
echo '{"over": "program"}'
