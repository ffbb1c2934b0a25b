#!/bin/sh
# Renders nginx.conf.template and runs nginx. Needs sh, grep, sed, tr, and a writable RUN_DIR and CACHE_DIR, but no root.
# Set any ${NAME} of the template in the environment. README.md describes them.
set -eu

template=${NGINX_TEMPLATE:-/opt/gifchat/nginx.conf.template}

: "${WORKER_PROCESSES:=2}"
# shellcheck disable=SC3045 # POSIX has no -H, but the shells of Debian and Alpine do.
: "${WORKER_FILES:=$(ulimit -Hn)}"
# Nothing reloads inside a container, and open sockets delay its stop by this long.
: "${WORKER_SHUTDOWN_TIMEOUT:=5s}"
: "${RUN_DIR:=/tmp}"
: "${TEMP_DIR:=/tmp/nginx}"
: "${CACHE_DIR:=/var/cache/gifchat/gifs}"
: "${ACCESS_LOG:=/dev/stdout}"
# shellcheck disable=SC2016,SC2034 # These are variables of nginx, for the template.
case ${LOG_ADDRESSES:=full} in
  full) LOGGED_ADDRESS='$remote_addr' ;;
  network) LOGGED_ADDRESS='$remote_network' ;;
  *)
    echo "LOG_ADDRESSES is $LOG_ADDRESSES, but must be full or network." >&2
    exit 2
    ;;
esac
# Docker's own name server. nginx notices new and removed replicas within two seconds.
: "${RESOLVER=resolver 127.0.0.11 valid=2s ipv6=off;}"
: "${REAL_IP=}"
: "${LISTEN:=listen 8080 backlog=4096;}"
# Containers reach rooms-api by its name, so only this container needs the second listener.
: "${INTERNAL_LISTEN:=listen 127.0.0.1:8081;}"
: "${GATEWAY_SERVERS:=server realtime-gateway:8000 resolve max_fails=0;}"
: "${ROOMS_API_SERVERS:=server rooms-api:8000 resolve max_fails=2 fail_timeout=2s;}"
: "${WEB_SERVERS:=server web:8000 resolve max_fails=2 fail_timeout=2s;}"
: "${REQUESTS_PER_SECOND:=200}"
: "${REQUESTS_BURST:=1000}"
: "${UPLOADS_PER_SECOND:=10}"
: "${UPLOADS_BURST:=200}"
: "${CONNECTIONS_PER_ADDRESS:=1000}"
: "${SENDERS_PER_ADDRESS:=200}"
: "${CHUNKED_BODIES:=500}"
: "${GIF_BODY_MAX:=10304k}"

# nginx needs no more than this.
if [ "$WORKER_FILES" = unlimited ] || [ "$WORKER_FILES" -gt 65536 ]; then
  WORKER_FILES=65536
fi
: "${WORKER_CONNECTIONS:=$((WORKER_FILES / 2))}"

config=$RUN_DIR/nginx.conf
script=$RUN_DIR/nginx.sed
: >"$script"
# shellcheck disable=SC2013,SC2016 # The names contain no spaces, and sed needs a literal $.
for name in $(grep -o '\${[A-Z][A-Z0-9_]*}' "$template" | sort -u | sed 's/[${}]//g'); do
  eval "set -- \"\${$name-}\" \"\${$name+set}\""
  if [ -z "$2" ]; then
    echo "nginx.conf.template asks for $name, which is not set." >&2
    exit 2
  fi
  # shellcheck disable=SC2016
  printf 's|${%s}|%s|g\n' "$name" "$(printf '%s' "$1" | tr '\n' ' ' | sed 's/[&|\\]/\\&/g')" >>"$script"
done
sed -f "$script" "$template" >"$config"
mkdir -p "$TEMP_DIR"

exec nginx -e stderr -p "$RUN_DIR" -c "$config" -g 'daemon off;'
