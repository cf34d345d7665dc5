#!/usr/bin/env bash
# A Kafka broker for tests and the demo: single node, KRaft, on 127.0.0.1 only. Its data, logs and pid file are in DIR.
# It must not touch a broker that it did not start, or one that belongs to another DIR.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$HERE/lib.sh"

TOOLS=${SCAN_TOOLS:-$(cd "$HERE/../.." && pwd)/target/tools}
READY_SECONDS=60
SERVER=kafka
STOP_SECONDS=20
# The users of a secured broker, each with its password: two for tests of connections, then those of docs/security.md.
USERS=(scan:scan-s3cret nobody:nobody-s3cret)
for role in push server read page operator; do USERS+=("scan-$role:scan-$role-s3cret"); done
SCRAMS=(SCRAM-SHA-256 SCRAM-SHA-512)
# What the format of the data folder gets besides its usual options.
FORMAT_OPTIONS=()

usage() {
    cat <<'TEXT'
usage: kafka.sh start DIR PORT [KEY=VALUE…]   starts a broker, returns when it accepts records; KEY=VALUE are broker settings
       kafka.sh join DIR PORT FIRST [KEY=VALUE…]   the same, as another broker of the cluster of the broker in the folder FIRST
       kafka.sh rack DIR PORT NUMBER VOTERS [KEY=VALUE…]   the same, as broker NUMBER of a cluster in which every broker is a controller too; VOTERS
                                              is 1@HOST:PORT,2@HOST:PORT… with the controller's port of each. Returns when a majority has been started
       kafka.sh start-secured DIR PORT CERTS [acls] [KEY=VALUE…]   as start, with three more listeners, which are below; CERTS is from certs.sh
       kafka.sh stop DIR                      stops it with SIGTERM, so that it can be restarted with its data
       kafka.sh kill DIR                      kills it with SIGKILL, as a crash would
       kafka.sh topic DIR ARGS…               runs kafka-topics on it: topic DIR --create --topic t --partitions 3
       kafka.sh groups DIR ARGS…              runs kafka-consumer-groups on it
       kafka.sh configs DIR ARGS…             runs kafka-configs on it
       kafka.sh acls DIR ARGS…                runs kafka-acls on it
       kafka.sh cut DIR TOPIC PARTITION N     removes the records below offset N, as retention would

A secured broker listens on PORT in plaintext too, for the tests themselves. DIR/listeners names its other listeners, one "NAME PORT" a line:
SASL_SSL and SASL_PLAINTEXT (SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN), and SSL, which requires a client certificate of the CA. They are advertised
as localhost, and keep their ports when the broker is started again. Users: scan, nobody, and those of docs/security.md; the password of each is its
name and -s3cret. The client certificate with CN=scan is User:scan too. With acls, users have only the rights that kafka.sh acls gives them; PORT keeps all rights.

SCAN_KAFKA_VERSION is the version of a broker at its first start: 3.9.1 (default) or 4.4.0. DIR/kafka.version records it for all later commands.
TEXT
}

# --- the version

# A folder without data gets the version in SCAN_KAFKA_VERSION; one with data keeps its own.
choose_version() {
    local version=${SCAN_KAFKA_VERSION:-${KAFKA_VERSIONS[0]}}
    [[ " ${KAFKA_VERSIONS[*]} " == *" $version "* ]] || die "SCAN_KAFKA_VERSION is '$version'; known versions: ${KAFKA_VERSIONS[*]}"
    [[ -s $1/data/meta.properties && -s $1/kafka.version ]] || printf '%s\n' "$version" >"$1/kafka.version"
    use_recorded_version "$1"
}

# Sets VERSION and JARS for the broker in DIR.
use_recorded_version() {
    [[ -s $1/kafka.version ]] || die "no broker has been started in $1"
    VERSION=$(<"$1/kafka.version")
    JARS=$TOOLS/kafka-$VERSION
    [[ -d $JARS ]] || die "no Kafka in $JARS; tests/support/setup.sh fetches it"
}

# The full name of a tool's class. Kafka 4 moved some of them.
class_of() {
    case "$VERSION $1" in
    3.*" ConfigCommand" | 3.*" AclCommand") printf 'kafka.admin.%s\n' "$1" ;;
    *" ConsumerGroupCommand") printf 'org.apache.kafka.tools.consumer.group.%s\n' "$1" ;;
    *) printf 'org.apache.kafka.tools.%s\n' "$1" ;;
    esac
}

# --- start

start() {
    local dir=$1 port=$2
    shift 2
    check_port "$port"
    need java setsid od
    choose_version "$dir"
    [[ -z $(server_pid "$dir") ]] || die "a broker already runs in $dir (pid $(server_pid "$dir")); kafka.sh stop $dir ends it"
    ! port_is_open "$port" || die "port $port of 127.0.0.1 is taken; choose another"

    write_settings "$dir" "$port" "$@"
    [[ -s $dir/data/meta.properties ]] || format "$dir"
    launch "$dir"
    wait_ready "$dir" "$port"
}

# As start, but the broker joins the cluster of the one in FIRST, which is its controller.
join() {
    local dir=$1 port=$2 first=$3 id controller
    shift 3
    controller=$(sed -n 's/^controller.quorum.voters=1@//p' "$first/server.properties" | tail -n 1)
    id=$(sed -n 's/^cluster.id=//p' "$first/data/meta.properties")
    [[ -n $controller && -n $id ]] || die "no broker has been started in $first"
    CLUSTER_ID=$id start "$dir" "$port" process.roles=broker "node.id=$((port))" "controller.quorum.voters=1@$controller" \
        "listeners=BROKER://127.0.0.1:$port" "$@"
}

# As start, but every broker of the cluster is a controller too, so any of them can be killed. They have to be started at the same time, because
# none is ready without a majority. The cluster's id follows from VOTERS, so that a broker with an empty folder joins the same cluster.
rack() {
    local dir=$1 port=$2 number=$3 voters=$4 controller
    shift 4
    controller=$(tr , '\n' <<<"$voters" | sed -n "s/^$number@//p")
    [[ -n $controller ]] || die "VOTERS is '$voters', without broker $number"
    CLUSTER_ID=$(md5sum <<<"$voters" | cut -c 1-22) start "$dir" "$port" "node.id=$number" "controller.quorum.voters=$voters" \
        "listeners=BROKER://127.0.0.1:$port,CONTROLLER://$controller" "$@"
}

# The controller's port is chosen here and not in write_settings, because the line with all listeners contains it.
start_secured() {
    local dir=$1 port=$2 certs controller user scram name number settings=()
    [[ -r $3/server-keystore.pem && -r $3/ca.pem ]] || die "no certificates in $3; tests/support/certs.sh makes them"
    certs=$(cd "$3" && pwd)
    shift 3
    check_port "$port"
    if [[ ! -s $dir/listeners ]]; then
        [[ ! -s $dir/data/meta.properties ]] || die "the broker in $dir was started without users"
        choose_listeners "$port" >"$dir/listeners"
    fi
    # shellcheck disable=SC2046 # two words a line
    controller=$(other_port "$port" $(cat "$dir/listeners"))
    for user in "${USERS[@]}"; do
        for scram in "${SCRAMS[@]}"; do
            FORMAT_OPTIONS+=(--add-scram "$scram=[name=${user%%:*},password=${user#*:}]")
        done
    done
    mapfile -t settings < <(secured_settings "$dir" "$port" "$controller" "$certs")
    if [[ "${1:-}" == acls ]]; then
        shift
        settings+=(authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
            super.users=User:ANONYMOUS allow.everyone.if.no.acl.found=false)
    fi
    start "$dir" "$port" "${settings[@]}" "$@"
    while read -r name number; do wait_ready "$dir" "$number"; done <"$dir/listeners"
}

# Three lines for DIR/listeners.
choose_listeners() {
    local taken=("$1") name number
    for name in SASL_SSL SASL_PLAINTEXT SSL; do
        number=$(other_port "${taken[@]}")
        taken+=("$number")
        printf '%s %s\n' "$name" "$number"
    done
}

# The settings of a secured broker that a plain one does not have. The broker itself and its controller stay on plaintext, where everyone is
# User:ANONYMOUS.
secured_settings() {
    local dir=$1 port=$2 controller=$3 certs=$4 name number listeners advertised protocols user scram plain=""
    listeners=BROKER://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
    advertised=BROKER://127.0.0.1:$port
    protocols=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
    for user in "${USERS[@]}"; do plain+=" user_${user%%:*}=\"${user#*:}\""; done
    while read -r name number; do
        listeners+=,$name://127.0.0.1:$number
        advertised+=,$name://localhost:$number
        protocols+=,$name:$name
        [[ $name == SASL_* ]] || continue
        for scram in "${SCRAMS[@]}"; do
            printf 'listener.name.%s.%s.sasl.jaas.config=%s required;\n' "${name,,}" "${scram,,}" \
                org.apache.kafka.common.security.scram.ScramLoginModule
        done
        printf 'listener.name.%s.plain.sasl.jaas.config=%s required%s;\n' "${name,,}" \
            org.apache.kafka.common.security.plain.PlainLoginModule "$plain"
    done <"$dir/listeners"
    cat <<SETTINGS
controller.quorum.voters=1@127.0.0.1:$controller
listeners=$listeners
advertised.listeners=$advertised
listener.security.protocol.map=$protocols
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
ssl.keystore.type=PEM
ssl.keystore.location=$certs/server-keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=$certs/ca.pem
listener.name.ssl.ssl.client.auth=required
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*\$/\$1/,DEFAULT
SETTINGS
}

# other_port PORT…: a free port that is none of these.
other_port() {
    local port
    port=$(free_port) || return
    while [[ " $* " == *" $port "* ]]; do port=$(free_port) || return; done
    printf '%s\n' "$port"
}

# Later lines override earlier ones, so the caller's settings come last. After a crash a broker waits until its previous session has expired,
# by default 9 s; hence the shorter session timeout.
write_settings() {
    local dir=$1 port=$2 controller setting
    shift 2
    controller=$(other_port "$port")
    for setting in "$@"; do
        [[ $setting == ?*=* ]] || die "'$setting' is not a setting of the form KEY=VALUE, such as num.partitions=3"
    done
    {
        cat <<SETTINGS
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=BROKER://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=BROKER://127.0.0.1:$port
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=true
num.partitions=1
SETTINGS
        [[ $# -eq 0 ]] || printf '%s\n' "$@"
    } >"$dir/server.properties"
    printf '%s\n' "$port" >"$dir/kafka.port"
    write_log_settings "$dir"
}

# The broker logs to a file of its own; the tools log only errors, to stderr. Kafka 4 also loads Log4j 2, without using it for its log; hence the
# option statusLoggerLevel=OFF: otherwise Log4j 2 complains that it has no settings.
write_log_settings() {
    cat >"$1/log4j.properties" <<SETTINGS
log4j.rootLogger=INFO, file
log4j.appender.file=org.apache.log4j.RollingFileAppender
log4j.appender.file.File=$1/kafka.log
log4j.appender.file.MaxFileSize=20MB
log4j.appender.file.MaxBackupIndex=2
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d %p %c{1}: %m%n
SETTINGS
    cat >"$1/log4j-tools.properties" <<'SETTINGS'
log4j.rootLogger=WARN, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.Target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%p %m%n
SETTINGS
}

# --ignore-formatted: an earlier run may have been interrupted here.
format() {
    local id
    id=${CLUSTER_ID:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n' | cut -c 1-22)}
    tool "$1" kafka.tools.StorageTool format -t "$id" -c "$1/server.properties" --ignore-formatted "${FORMAT_OPTIONS[@]}" >"$1/format.log" 2>&1 ||
        die "formatting $1/data failed: $(tail -n 1 "$1/format.log")"
}

launch() {
    start_detached "$1/kafka.pid" "$1/kafka.out" java -Xms256m -Xmx512m "-Dscan.kafka.dir=$1" \
        "-Dlog4j.configuration=file:$1/log4j.properties" -Dlog4j2.statusLoggerLevel=OFF -cp "$JARS/*" kafka.Kafka "$1/server.properties"
}

# The broker opens its port as the last step of its start, when its partitions already have leaders.
wait_ready() {
    local dir=$1 port=$2 end=$((SECONDS + READY_SECONDS))
    until port_is_open "$port"; do
        [[ -n $(server_pid "$dir") ]] || give_up "$dir" "Kafka exited during its start"
        ((SECONDS < end)) || give_up "$dir" "Kafka was not ready within $READY_SECONDS s"
        sleep 0.1
    done
}

# --- other commands

# The pid of this folder's broker, if it runs. The word distinguishes it from another process with a reused pid.
server_pid() {
    local pid
    pid=$(pid_in "$1/kafka.pid")
    [[ -z $pid ]] || ! has_word "$pid" "-Dscan.kafka.dir=$1" || printf '%s\n' "$pid"
}

cut_log() {
    local dir=$1 topic=$2 partition=$3 offset=$4
    printf '{"version": 1, "partitions": [{"topic": "%s", "partition": %d, "offset": %d}]}\n' "$topic" "$partition" "$offset" \
        >"$dir/cut.json"
    client "$dir" DeleteRecordsCommand --offset-json-file "$dir/cut.json"
}

client() {
    local dir=$1 class=$2
    shift 2
    use_recorded_version "$dir"
    tool "$dir" "$(class_of "$class")" --bootstrap-server "127.0.0.1:$(cat "$dir/kafka.port")" "$@"
}

# A short-lived tool starts faster with one collector thread and without the optimising compiler.
tool() {
    local dir=$1
    shift
    java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dlog4j.configuration=file:$dir/log4j-tools.properties" \
        -Dlog4j2.statusLoggerLevel=OFF -cp "$JARS/*" "$@"
}

# --- the command line

[[ "${1:-}" != -h && "${1:-}" != --help ]] || { usage; exit 0; }
[[ $# -ge 2 ]] || { usage >&2; exit 2; }
COMMAND=$1
mkdir -p "$2"
DIR=$(cd "$2" && pwd)
shift 2
case "$COMMAND" in
start)
    [[ $# -ge 1 ]] || die "start needs DIR and PORT"
    start "$DIR" "$@"
    ;;
join)
    [[ $# -ge 2 ]] || die "join needs DIR, PORT and FIRST"
    join "$DIR" "$@"
    ;;
rack)
    [[ $# -ge 4 ]] || die "rack needs DIR, PORT, NUMBER and VOTERS"
    rack "$DIR" "$@"
    ;;
start-secured)
    [[ $# -ge 2 ]] || die "start-secured needs DIR, PORT and CERTS"
    start_secured "$DIR" "$@"
    ;;
stop) stop_server "$DIR" ;;
kill) kill_server "$DIR" ;;
topic) client "$DIR" TopicCommand "$@" ;;
groups) client "$DIR" ConsumerGroupCommand "$@" ;;
configs) client "$DIR" ConfigCommand "$@" ;;
acls) client "$DIR" AclCommand "$@" ;;
cut) cut_log "$DIR" "$@" ;;
*)
    usage >&2
    exit 2
    ;;
esac
