#!/usr/bin/env bash
# `make cluster`: "Set up a cluster" of gateway/SCALING.md on this machine, to try it. Six Redis
# nodes, two gateways and a recorder, nginx, and workers that publish. A killed part is started again
# after ten seconds. Ctrl-C stops and removes everything. For development only.
set -euo pipefail
# Each part is in a process group of its own: Ctrl-C reaches this script alone, which ends them in order.
set -m
# Ports to try first: PORT=9000 make cluster. That of the page, those for operators, those of Redis.
PORT=${PORT:-8080} ADMIN_PORT=${ADMIN_PORT:-8081} REDIS_PORT=${REDIS_PORT:-7001}
site=$PWD/nginx/sse-gateway.conf
PATH="$PATH:/usr/sbin:/sbin"
ORGANIZATION=dev-org
parts=()
where=

main() {
    needs redis-server redis-server
    needs redis-cli redis-tools
    needs nginx nginx
    needs curl curl
    version=$(redis-server --version | sed -n 's/.* v=\([0-9]*\).*/\1/p')
    ((version >= 7)) || fail "make cluster needs Redis 7 or newer; redis-server here is version $version."
    trap stop EXIT
    trap 'exit 0' INT TERM HUP
    umask 077
    where=$(mktemp -d "${TMPDIR:-/tmp}/sse-gateway-cluster.XXXXXX")
    # Paths of sockets are relative to it: they may have about 100 characters, and the hash of nginx, which
    # they go into, is the same each time.
    cd "$where"
    password=$(random)
    export REDISCLI_AUTH=$password GATEWAY_CONFIG=$where/gateway.toml
    start_redis
    start_gateways
    start_nginx
    start_workers
    await "the gateways" curl --fail --silent --output /dev/null "$url/api/v1/sse/health"
    banner
    wait
}

needs() {
    command -v "$1" >/dev/null ||
        fail "make cluster needs $1. On Debian and Ubuntu: apt-get install $2"
}

fail() {
    echo "$1" >&2
    exit 1
}

start_redis() {
    # What each node of a cluster needs.
    cat >redis.conf <<-END
cluster-enabled yes
cluster-node-timeout 5000
cluster-require-full-coverage no
appendonly yes
END
    local port=$REDIS_PORT node
    nodes=()
    while ((${#nodes[@]} < 6)); do
        # The nodes talk to each other 10,000 above.
        port=$(free "$port" 10000)
        nodes+=("127.0.0.1:$port")
        mkdir "redis-$port"
        cat redis.conf - >"redis-$port/redis.conf" <<END
bind 127.0.0.1
port $port
dir $where/redis-$port
pidfile $where/redis-$port/redis.pid
requirepass $password
masterauth $password
END
        keep "redis-$port" redis-server "$where/redis-$port/redis.conf"
        port=$((port + 1))
    done
    for node in "${nodes[@]}"; do
        await "Redis" redis-cli -p "${node#*:}" ping
    done
    redis-cli --cluster create "${nodes[@]}" --cluster-replicas 1 --cluster-yes >create.log 2>&1 ||
        fail "The cluster was not made: $(tail -5 create.log)"
}

start_gateways() {
    local number secret port=$ADMIN_PORT
    # What gateways and the recorder share, and `sse-gateway publish` and `token` read too.
    cat >gateway.toml <<END
subscription = "execution"
record_bare_events = "off"
END
    secret=$(random)
    cat >>gateway.toml <<END
redis_url = "redis+cluster://:$password@$(IFS=, && echo "${nodes[*]:0:3}")"
jwt_secret = "$secret"
page = true
drain_seconds = 0.2
END
    admin=()
    for number in 1 2 recorder; do
        port=$(free "$port")
        admin+=("$port")
        mkdir "$number"
        if [[ $number == recorder ]]; then
            keep recorder env GATEWAY_ADMIN_PORT="$port" sse-gateway recorder
        else
            keep "gateway-$number" env GATEWAY_ADMIN_PORT="$port" \
                GATEWAY_UNIX_SOCKET="$number/gateway.sock" sse-gateway serve
        fi
        port=$((port + 1))
    done
}

# nginx/sse-gateway.conf with two gateways, and with the page; without TLS and its redirect.
start_nginx() {
    local port
    port=$(free "$PORT")
    url=http://127.0.0.1:$port
    mkdir logs
    awk '/^server \{/ { ++servers } servers != 1' "$site" | sed \
        -e 's|server 127.0.0.1:8080;|server unix:1/gateway.sock max_fails=0; server unix:2/gateway.sock max_fails=0;|' \
        -e "s|listen 443 ssl http2;|listen 127.0.0.1:$port;|" -e '/listen \[::\]/d' -e '/ssl_/d' \
        -e 's|server_name .*|server_name localhost;|' -e 's|/var/log/nginx/|logs/|' \
        -e '/location \/ {/,/}/s|return 404;|proxy_pass http://backend;|' >site.conf
    cat >nginx.conf <<END
$( ((EUID)) || echo 'user root;')
daemon off;
pid nginx.pid;
error_log logs/error.log;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}
END
    keep nginx nginx -p "$where" -c nginx.conf -e logs/error.log
}

# One that uses `Publisher`, and one that only PUBLISHes.
start_workers() {
    keep workers python -P -c '
import asyncio
from gateway.publisher import Publisher
from gateway.settings import load
from gateway.tools.dev.engine import SimulatedEngine

async def main():
    settings = load()
    async with Publisher(settings.redis_url, publish_to=settings.publishes_to) as publisher:
        await SimulatedEngine(publisher).run()

asyncio.run(main())'
    (
        trap 'exit 0' TERM
        until REDIS_URL="$(redis_url)" sse-gateway register bare --organization "$ORGANIZATION"; do
            sleep 1
        done >bare.log 2>&1
        for ((step = 1; ; ++step)); do
            for event in started completed; do
                publish_bare "{\"type\": \"step:$event\", \"data\": {\"node_id\": \"step-$step\", \"node_type\": \"email\"}}"
                sleep 1
            done
        done
    ) 2>>bare.log &
    parts+=($!)
}

# At any node: the whole cluster receives it.
publish_bare() {
    local node
    for node in "${nodes[@]}"; do
        if redis-cli -p "${node#*:}" PUBLISH execution:bare "$1" >/dev/null 2>&1; then return; fi
    done
}

redis_url() {
    sed -n 's/^redis_url = "\(.*\)"/\1/p' gateway.toml
}

banner() {
    local token
    token=$(sse-gateway token --organization "$ORGANIZATION" --ttl 43200 2>/dev/null)
    cat <<END

  $url/

Open it, and enter this token, and the organization $ORGANIZATION:
  $token

Follow an execution of a \`Publisher\` in a second terminal; in a third, one of bare PUBLISHes:
  SSE_GATEWAY_TOKEN=$token $(command -v sse-gateway) tail demo --organization $ORGANIZATION --url $url
  curl -N -H 'Authorization: Bearer $token' -H 'X-Organization-ID: $ORGANIZATION' $url/api/v1/sse/executions/bare/stream

For your own workers, and for commands such as \`sse-gateway check $url\`:
  export REDIS_URL=$(redis_url) GATEWAY_CONFIG=$where/gateway.toml

What runs here ($where has the settings and logs):
  nginx      ${url#http://}
  gateways   unix sockets; for operators: 127.0.0.1:${admin[0]} and 127.0.0.1:${admin[1]} (/metrics, /streams)
  recorder   for operators: 127.0.0.1:${admin[2]}
  Redis      primaries ${nodes[*]:0:3}; replicas ${nodes[*]:3}
Kill what you like: it is started again after ten seconds. Which node has which process:
  grep . $where/redis-*/redis.pid

For development only. Ctrl-C stops all of it.
END
}

random() {
    python -c 'import secrets; print(secrets.token_hex(32))'
}

# The port $1, or the next one that is free, and so is the one that is $2 above.
free() {
    local port=$1
    while listens "$port" || listens $((port + ${2:-0})); do port=$((port + 1)); done
    echo "$port"
}

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Runs the command after $1 until the end of this script; it writes to $1.log.
keep() {
    local name=$1
    shift
    (
        # What it runs gets the signal too.
        trap 'exit 0' TERM
        while :; do
            "$@" >>"$name.log" 2>&1 </dev/null || true
            sleep 10
        done
    ) 2>>"$name.log" &
    parts+=($!)
}

await() {
    local what=$1 until=$((SECONDS + 30))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS > until)); then fail "$what did not start: $(tail -n 3 ./*.log)"; fi
        sleep 0.1
    done
}

# Ends the parts, the last one first, and removes their files.
stop() {
    local part
    trap '' INT TERM HUP
    for ((at = ${#parts[@]} - 1; at >= 0; --at)); do
        part=${parts[at]}
        kill -TERM -- "-$part" 2>/dev/null || true
        # One that was suspended too.
        kill -CONT -- "-$part" 2>/dev/null || true
        for ((tries = 0; tries < 100; ++tries)); do
            kill -0 "$part" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL -- "-$part" 2>/dev/null || true
    done
    if [[ $where ]]; then rm -rf "$where"; fi
}

main "$@"
