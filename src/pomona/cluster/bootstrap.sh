#!/bin/sh
# Makes this host the master or a worker of a Pomona cluster, or undoes that. Run it as root.
#
#   bootstrap.sh [SETTINGS]    install or update, then start; SETTINGS is /etc/pomona/cluster.env
#   bootstrap.sh --prepare     what of that takes long: check the host and unpack the archive
#   bootstrap.sh --status      what runs here, a line each
#   bootstrap.sh --stop        stop, and stay stopped after a restart of the host
#   bootstrap.sh --remove      stop, and remove everything that the first form made
#
# Running it again with the same settings changes nothing and restarts nothing. It downloads
# nothing but the archive, which has Python, Java, Spark and Pomona in it; of the host it needs
# glibc, bash, tar, gzip, sha256sum, useradd and ip. SETTINGS has a line KEY=VALUE for each of:
#
#   POMONA_ROLE=master|worker|both
#   POMONA_MASTER_HOST=         name or address of the master (default for a master: POMONA_BIND)
#   POMONA_BIND=                address of this host in the cluster (default: the one that leads
#                               to the master)
#   POMONA_ARCHIVE=             file or s3://bucket/key of `pomona cluster pack`
#   POMONA_ARCHIVE_SHA256=      its checksum
#   POMONA_CORES=               cores that a worker offers (default: all)
#   POMONA_MEMORY=              memory that it offers, such as 6g or 900m (default: what there is,
#                               less a reserve)
#   POMONA_PORT=7077            of the master; POMONA_WORKER_PORT=7078; executors take
#   POMONA_BLOCK_PORT=7079      and the 16 ports after it
#   POMONA_UI_PORT=8080         pages of the master and of the worker, on the loopback address;
#   POMONA_WORKER_UI_PORT=8081
#   POMONA_MEMBERS=             addresses, with blanks between, that may connect to these ports;
#                               none: no rules are set
#   POMONA_SECRET_FILE=/etc/pomona/secret
#   POMONA_PREFIX=/opt/pomona
#   POMONA_CLUSTER=pomona       name of the cluster
set -eu
umask 022
export LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

ETC=/etc/pomona
STATE=/var/lib/pomona
LOGS=/var/log/pomona
RUN=/run/pomona
UNITS=/etc/systemd/system
ROTATION=/etc/logrotate.d/pomona
USER_NAME=pomona

say() { printf 'pomona: %s\n' "$*"; }
fail() {
    printf 'pomona: %s\n' "$*" >&2
    exit 1
}

defaults() {
    POMONA_ROLE='' POMONA_MASTER_HOST='' POMONA_BIND='' POMONA_ARCHIVE='' POMONA_ARCHIVE_SHA256=''
    POMONA_CORES='' POMONA_MEMORY='' POMONA_MEMBERS=''
    POMONA_PORT=7077 POMONA_WORKER_PORT=7078 POMONA_BLOCK_PORT=7079
    POMONA_UI_PORT=8080 POMONA_WORKER_UI_PORT=8081
    POMONA_SECRET_FILE=$ETC/secret POMONA_PREFIX=/opt/pomona POMONA_CLUSTER=pomona
}

# Read settings without letting the shell interpret them.
read_settings() {
    [ -r "$1" ] || fail "There is no file of settings $1."
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            '' | '#'*) continue ;;
            *[!A-Za-z0-9_./:=\ @%+,-]*) fail "$1 has a character that no setting needs: $line" ;;
            *=*) ;;
            *) fail "$1 has a line without '=': $line" ;;
        esac
        value=${line#*=}
        case ${line%%=*} in
            POMONA_ROLE) POMONA_ROLE=$value ;;
            POMONA_MASTER_HOST) POMONA_MASTER_HOST=$value ;;
            POMONA_BIND) POMONA_BIND=$value ;;
            POMONA_ARCHIVE) POMONA_ARCHIVE=$value ;;
            POMONA_ARCHIVE_SHA256) POMONA_ARCHIVE_SHA256=$value ;;
            POMONA_CORES) POMONA_CORES=$value ;;
            POMONA_MEMORY) POMONA_MEMORY=$value ;;
            POMONA_MEMBERS) POMONA_MEMBERS=$value ;;
            POMONA_PORT) POMONA_PORT=$value ;;
            POMONA_WORKER_PORT) POMONA_WORKER_PORT=$value ;;
            POMONA_BLOCK_PORT) POMONA_BLOCK_PORT=$value ;;
            POMONA_UI_PORT) POMONA_UI_PORT=$value ;;
            POMONA_WORKER_UI_PORT) POMONA_WORKER_UI_PORT=$value ;;
            POMONA_SECRET_FILE) POMONA_SECRET_FILE=$value ;;
            POMONA_PREFIX) POMONA_PREFIX=$value ;;
            POMONA_CLUSTER) POMONA_CLUSTER=$value ;;
            *) fail "$1 has a setting that is not known: ${line%%=*}" ;;
        esac
    done <"$1"
    # Folders below it are removed again: never let it be one that others use.
    case $POMONA_PREFIX in
        *..* | *//* | /pomona) fail "POMONA_PREFIX=$POMONA_PREFIX is not taken." ;;
        /?*/pomona | /?*/pomona-*) ;;
        *) fail "POMONA_PREFIX=$POMONA_PREFIX has to end in /pomona." ;;
    esac
}

check_settings() {
    case $POMONA_ROLE in
        master | worker | both) ;;
        *) fail "POMONA_ROLE is master, worker or both, not '$POMONA_ROLE'." ;;
    esac
    for number in "$POMONA_PORT" "$POMONA_WORKER_PORT" "$POMONA_BLOCK_PORT" "$POMONA_UI_PORT" \
        "$POMONA_WORKER_UI_PORT" "${POMONA_CORES:-1}"; do
        case $number in '' | 0* | *[!0-9]*) fail "'$number' is no port or number of cores." ;; esac
    done
    case ${POMONA_MEMORY:-1g} in
        0* | *[!0-9mg]* | *[mg]?* | [mg]) fail "POMONA_MEMORY is like 6g or 900m, not '$POMONA_MEMORY'." ;;
        *[mg]) ;;
        *) fail "POMONA_MEMORY is like 6g or 900m, not '$POMONA_MEMORY'." ;;
    esac
    case $POMONA_ARCHIVE_SHA256 in
        *[!0-9a-f]*) fail "POMONA_ARCHIVE_SHA256 is no checksum." ;;
    esac
    [ ${#POMONA_ARCHIVE_SHA256} -eq 64 ] || fail "POMONA_ARCHIVE_SHA256 is no checksum."
    [ -n "$POMONA_MASTER_HOST" ] || [ "$POMONA_ROLE" != worker ] ||
        fail "A worker needs POMONA_MASTER_HOST."
    [ -s "$POMONA_SECRET_FILE" ] || fail "There is no secret in $POMONA_SECRET_FILE."
    # Spark's file of properties would take a blank or a backslash for something else.
    ! grep -q '[^A-Za-z0-9_=+/-]' "$POMONA_SECRET_FILE" ||
        fail "The secret in $POMONA_SECRET_FILE has other characters than letters, digits and _=+/-."
    [ "$(wc -c <"$POMONA_SECRET_FILE")" -ge 32 ] || fail "The secret is shorter than 32 characters."
}

has_systemd() { [ -d /run/systemd/system ]; }

roles() {
    case $POMONA_ROLE in
        both) echo master worker ;;
        *) echo "$POMONA_ROLE" ;;
    esac
}

# Address of this host from which a packet to the master would go.
find_address() {
    [ -z "$POMONA_BIND" ] || return 0
    to=$POMONA_MASTER_HOST
    if [ -z "$to" ]; then
        # An address that only serves to ask for the route; nothing is sent.
        to=192.0.2.1
    fi
    to=$(getent ahosts "$to" | awk 'NR == 1 { print $1 }')
    POMONA_BIND=$(ip -o route get "${to:-192.0.2.1}" 2>/dev/null |
        awk '{ for (i = 1; i < NF; i++) if ($i == "src") { print $(i + 1); exit } }')
    [ -n "$POMONA_BIND" ] || fail "This host has no route to the master; set POMONA_BIND."
}

# put FILE MODE: write standard input there unless it is there already; sets $changed.
put() {
    mkdir -p "${1%/*}"
    # One of these files holds the secret: nobody reads it before its mode is set.
    (umask 077 && cat >"$1.new")
    chmod "$2" "$1.new"
    chown "root:${3:-root}" "$1.new"
    if cmp -s "$1.new" "$1" && [ "$(stat -c %a:%U:%G "$1.new")" = "$(stat -c %a:%U:%G "$1")" ]; then
        rm -f "$1.new"
    else
        mv -f "$1.new" "$1"
        changed=yes
    fi
}

make_user() {
    ! getent passwd $USER_NAME >/dev/null || return 0
    shell=$(command -v nologin || echo /bin/false)
    useradd --system --user-group --no-create-home --home-dir $STATE --shell "$shell" $USER_NAME
    mkdir -p $ETC
    : >$ETC/made-user
    say "user $USER_NAME"
}

make_folders() {
    mkdir -p $ETC "$POMONA_PREFIX/releases" $STATE/work $STATE/scratch $LOGS
    chown $USER_NAME:$USER_NAME $STATE $STATE/work $STATE/scratch $LOGS
    chmod 750 $STATE $STATE/work $STATE/scratch $LOGS
    chown root:$USER_NAME "$POMONA_SECRET_FILE"
    chmod 640 "$POMONA_SECRET_FILE"
}

# Unpack the archive, once for each content.
unpack() {
    id=$(printf %.16s "$POMONA_ARCHIVE_SHA256")
    release=$POMONA_PREFIX/releases/$id
    rm -rf "$POMONA_PREFIX"/releases/*.partial
    if [ ! -d "$release" ]; then
        archive=$POMONA_ARCHIVE
        case $archive in
            s3://*)
                command -v aws >/dev/null || fail "Fetching $archive needs the command aws."
                archive=$POMONA_PREFIX/releases/$id.tar.gz.partial
                aws s3 cp --only-show-errors "$POMONA_ARCHIVE" "$archive" ||
                    fail "Cannot fetch $POMONA_ARCHIVE."
                ;;
        esac
        [ -f "$archive" ] || fail "There is no archive ${archive:-(POMONA_ARCHIVE is not set)}."
        found=$(sha256sum "$archive") || fail "Cannot read $archive."
        [ "${found%% *}" = "$POMONA_ARCHIVE_SHA256" ] ||
            fail "The archive is damaged: its checksum is ${found%% *}, not $POMONA_ARCHIVE_SHA256."
        needed=$(($(stat -c %s "$archive") * 4 / 1024))
        free=$(df -Pk "$POMONA_PREFIX" | awk 'NR == 2 { print $4 }')
        [ "$free" -ge "$needed" ] ||
            fail "$POMONA_PREFIX has $((free / 1024)) MB free; unpacking needs $((needed / 1024)) MB."
        mkdir "$release.partial"
        tar -xzf "$archive" -C "$release.partial" --no-same-owner || fail "Cannot unpack $archive."
        home=$release.partial/pomona-env
        if ! "$home/bin/python" -c 'import pomona' 2>"$release.partial/why"; then
            why=$(tail -n 1 "$release.partial/why")
            made_for=$(sed -n 's/.*"machine": *"\([^"]*\)".*/\1/p' "$home/pomona-env.json")
            rm -rf "$release.partial"
            fail "The archive, made for ${made_for:-an unknown machine}," \
                "does not run on this host ($(uname -m)): $why"
        fi
        rm -f "$release.partial/why"
        "$release.partial/pomona-env/bin/python" - "$release.partial/java" <<'END'
import sys
from pathlib import Path

from pomona.spark.java import bundled_java

scratch = Path(sys.argv[1])
home = bundled_java().spark_home_for(scratch)
if home == scratch / "java":
    launcher = home / "bin" / "java"
    text = launcher.read_text().replace(".partial/", "/")
    launcher.write_text(text)
else:
    scratch.mkdir()
    (scratch / "java").symlink_to(str(home).replace(".partial/", "/"))
END
        mv "$release.partial" "$release"
        rm -f "$POMONA_PREFIX/releases/$id.tar.gz.partial"
        say "unpacked release $id"
    fi
}

# Let `current` lead to the release.
choose() {
    home=$release/pomona-env
    if [ "$(readlink "$POMONA_PREFIX/current" 2>/dev/null)" != "$home" ]; then
        ln -sfn "$home" "$POMONA_PREFIX/current.new"
        mv -fT "$POMONA_PREFIX/current.new" "$POMONA_PREFIX/current"
        changed=yes
    fi
}

# The release in use and the one before it stay.
prune() {
    kept=0
    # Names are checksums: no blanks in them.
    # shellcheck disable=SC2012
    ls -1t "$POMONA_PREFIX/releases" | while read -r name; do
        [ "$name" != "$id" ] || continue
        kept=$((kept + 1))
        [ $kept -le 1 ] || rm -rf "${POMONA_PREFIX:?}/releases/$name"
    done
}

total_megabytes() { awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo; }

# What the system itself keeps: a tenth, at least 300 MB and at most 2 GB.
reserve_megabytes() {
    tenth=$(($(total_megabytes) / 10))
    [ $tenth -ge 300 ] || tenth=300
    [ $tenth -le 2048 ] || tenth=2048
    echo $tenth
}

write_files() {
    usable=$(($(total_megabytes) - $(reserve_megabytes)))
    # Spark's Java is not all: what the worker itself needs comes off first.
    memory=${POMONA_MEMORY:-$((usable - 300))m}
    cores=${POMONA_CORES:-$(nproc)}
    spark=$(echo "$home"/lib/python3*/site-packages/pyspark)
    [ -f "$spark/bin/spark-class" ] || fail "The archive has no Spark in it."
    put $ETC/spark.conf 640 $USER_NAME <<END
spark.authenticate true
spark.authenticate.secret $(cat "$POMONA_SECRET_FILE")
spark.network.crypto.enabled true
spark.network.crypto.cipher AES/GCM/NoPadding
spark.network.crypto.saslFallback false
spark.master.rest.enabled false
spark.decommission.enabled true
spark.ui.killEnabled false
spark.worker.cleanup.enabled true
spark.worker.cleanup.interval 1800
spark.worker.cleanup.appDataTtl 86400
END
    put $ETC/log4j2.properties 644 <<'END'
rootLogger.level = info
rootLogger.appenderRef.out.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n%ex
END
    put "$POMONA_PREFIX/daemon" 755 <<END
#!/bin/sh
# Starts Spark's master or worker of the cluster $POMONA_CLUSTER in the foreground.
set -eu
umask 027
# Opened here, by the user of the service: the folder is that user's.
exec >>"$LOGS/\$1.log" 2>&1
export LC_ALL=C.UTF-8 JAVA_HOME=$release/java/java SPARK_HOME=$spark
# Spark lets its pages listen there; what others connect to listens at --host.
export SPARK_LOCAL_IP=127.0.0.1
export SPARK_DAEMON_MEMORY=512m SPARK_LOCAL_DIRS=$STATE/scratch TMPDIR=$STATE/scratch
# Executors inherit it: nothing of theirs in the host's /tmp.
export JDK_JAVA_OPTIONS="-XX:-UsePerfData -Djava.io.tmpdir=$STATE/scratch"
export SPARK_DAEMON_JAVA_OPTS="-Dlog4j2.configurationFile=file:$ETC/log4j2.properties -XX:+UseSerialGC"
case \$1 in
    master)
        exec bash "\$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master \\
            --host $POMONA_BIND --port $POMONA_PORT --webui-port $POMONA_UI_PORT \\
            --properties-file $ETC/spark.conf
        ;;
    worker)
        exec bash "\$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \\
            --host $POMONA_BIND --port $POMONA_WORKER_PORT --webui-port $POMONA_WORKER_UI_PORT \\
            --cores $cores --memory $memory --work-dir $STATE/work \\
            --properties-file $ETC/spark.conf spark://${POMONA_MASTER_HOST:-$POMONA_BIND}:$POMONA_PORT
        ;;
esac
END
    for role in $(roles); do
        limit=$usable
        [ "$role" = worker ] || limit=1024
        write_unit "$role" "$limit" | put "$UNITS/pomona-$role.service" 644
    done
    before=$changed
    put $ROTATION 644 <<END
$LOGS/*.log {
    su $USER_NAME $USER_NAME
    size 50M
    rotate 5
    compress
    missingok
    notifempty
    copytruncate
}
END
    if [ "$self" != "$POMONA_PREFIX/bootstrap.sh" ]; then
        put "$POMONA_PREFIX/bootstrap.sh" 755 <"$self"
    fi
    # Neither of these two concerns what runs already.
    changed=$before
}

# write_unit ROLE MEGABYTES
write_unit() {
    after=network-online.target
    if [ "$1" = worker ] && [ "$POMONA_ROLE" = both ]; then
        after="$after pomona-master.service"
    fi
    cat <<END
# Written by $POMONA_PREFIX/bootstrap.sh, which writes it anew.
[Unit]
Description=Pomona: Spark $1 of the cluster $POMONA_CLUSTER
Documentation=https://spark.apache.org/docs/latest/spark-standalone.html
Wants=network-online.target
After=$after
StartLimitIntervalSec=0

[Service]
Type=exec
User=$USER_NAME
Group=$USER_NAME
END
    [ ! -f $ETC/firewall.nft ] || echo "ExecStartPre=+$(command -v nft) -f $ETC/firewall.nft"
    cat <<END
ExecStart=$POMONA_PREFIX/daemon $1
Restart=on-failure
RestartSec=5
SuccessExitStatus=143
KillMode=mixed
TimeoutStopSec=20
WorkingDirectory=$STATE
UMask=0027
LimitNOFILE=65536
TasksMax=8192
MemoryMax=$2M
# A task that takes too much memory ends alone; Spark repeats it.
OOMPolicy=continue
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths=$STATE $LOGS
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
END
}

# Only members may open connections to the ports of the cluster. The table is one of our own, its
# policy is to accept and what it drops is about these ports alone: SSH is not concerned.
set_firewall() {
    if [ -z "$POMONA_MEMBERS" ] || ! command -v nft >/dev/null; then
        [ -z "$POMONA_MEMBERS" ] || say "no nftables here: close the ports" \
            "$POMONA_PORT and $POMONA_WORKER_PORT-$((POMONA_BLOCK_PORT + 16)) in a firewall of yours"
        drop_firewall
        return 0
    fi
    four='' six='' admitted=''
    for member in $POMONA_MEMBERS $POMONA_BIND; do
        case $member in
            *:*) six="$six${six:+, }$member" ;;
            *) four="$four${four:+, }$member" ;;
        esac
    done
    [ -z "$four" ] || admitted="ip saddr { $four } accept"
    [ -z "$six" ] || admitted="${admitted:+$admitted; }ip6 saddr { $six } accept"
    before=$changed
    changed=''
    put $ETC/firewall.nft 644 <<END
table inet pomona
delete table inet pomona
table inet pomona {
    set ports {
        type inet_service
        flags interval
        auto-merge
        elements = { $POMONA_PORT, $POMONA_WORKER_PORT, $POMONA_BLOCK_PORT-$((POMONA_BLOCK_PORT + 16)) }
    }
    chain input {
        type filter hook input priority filter - 1; policy accept;
        iif lo accept
        $admitted
        tcp dport @ports tcp flags & (fin | syn | rst | ack) == syn drop
    }
}
END
    if [ -n "$changed" ] || ! nft list table inet pomona >/dev/null 2>&1; then
        nft -f $ETC/firewall.nft || fail "nft refuses $ETC/firewall.nft."
    fi
    changed=$before
}

drop_firewall() {
    rm -f $ETC/firewall.nft
    ! command -v nft >/dev/null || nft delete table inet pomona 2>/dev/null || :
}

running() {
    if has_systemd; then
        systemctl --quiet is-active "pomona-$1.service"
    else
        [ -f "$RUN/$1.pid" ] && kill -0 "$(cat "$RUN/$1.pid")" 2>/dev/null
    fi
}

start() {
    for role in $(roles); do
        if has_systemd; then
            systemctl --quiet enable "pomona-$role.service"
            if [ -n "$changed" ]; then
                systemctl restart "pomona-$role.service"
            else
                running "$role" && continue
                systemctl start "pomona-$role.service"
            fi
        else
            [ -n "$changed" ] || ! running "$role" || continue
            halt "$role"
            mkdir -p $RUN
            setsid sh "$POMONA_PREFIX/bootstrap.sh" --supervise "$role" \
                </dev/null >"$RUN/$role.out" 2>&1 &
            echo $! >"$RUN/$role.pid"
            say "systemd does not run here: $role is watched by bootstrap.sh itself"
        fi
        say "started the $role"
    done
}

# halt ROLE: stop it and wait until it has ended.
halt() {
    if has_systemd; then
        [ ! -f "$UNITS/pomona-$1.service" ] || systemctl --quiet disable --now "pomona-$1.service"
        return 0
    fi
    [ -f "$RUN/$1.pid" ] || return 0
    pid=$(cat "$RUN/$1.pid")
    kill -TERM "$pid" 2>/dev/null || :
    waited=0
    while kill -0 "$pid" 2>/dev/null && [ $waited -lt 200 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    # The supervisor leads a process group of its own.
    kill -KILL -- "-$pid" 2>/dev/null || :
    rm -f "$RUN/$1.pid"
}

# What systemd's Restart=on-failure does, where there is no systemd.
supervise() {
    child=''
    trap 'kill -TERM "$child" 2>/dev/null || :; wait "$child" || :; exit 0' TERM INT
    cd $STATE
    while :; do
        setpriv --reuid=$USER_NAME --regid=$USER_NAME --init-groups --no-new-privs \
            "$POMONA_PREFIX/daemon" "$1" &
        child=$!
        code=0
        wait "$child" || code=$?
        [ $code -ne 0 ] && [ $code -ne 143 ] || exit 0
        say "the $1 ended with $code; again in 5 s"
        sleep 5 &
        wait $!
    done
}

status() {
    # A host that has never been one of a cluster has nothing to say.
    [ -f $ETC/cluster.env ] || return 0
    release=$(readlink "$POMONA_PREFIX/current" || echo none/none)
    release=${release%/*}
    for role in $(roles); do
        state=stopped
        ! running "$role" || state=running
        printf '%s %s %s\n' "$role" $state "${release##*/}"
    done
}

remove() {
    for role in worker master; do
        halt $role
        rm -f "$UNITS/pomona-$role.service"
    done
    ! has_systemd || systemctl daemon-reload
    drop_firewall
    rm -f $ROTATION
    rm -rf $RUN $STATE $LOGS "$POMONA_PREFIX/releases"
    rm -f "$POMONA_PREFIX/current" "$POMONA_PREFIX/daemon" "$POMONA_PREFIX/bootstrap.sh" \
        "$POMONA_PREFIX"/*.tar.gz "$POMONA_PREFIX"/*.new
    [ ! -d "$POMONA_PREFIX" ] || rmdir "$POMONA_PREFIX" 2>/dev/null ||
        say "$POMONA_PREFIX has other files in it and stays"
    if [ -f $ETC/made-user ]; then
        userdel $USER_NAME 2>/dev/null || :
        ! getent group $USER_NAME >/dev/null || groupdel $USER_NAME
    fi
    rm -rf $ETC
    say "removed"
}

prepare() {
    settings=$1
    read_settings "$settings"
    check_settings
    for tool in bash tar gzip sha256sum useradd ip setsid setpriv; do
        command -v $tool >/dev/null || fail "This host has no command '$tool'."
    done
    # `changed` tells whether something that runs has to be started anew.
    changed=''
    find_address
    make_user
    make_folders
    unpack
}

install() {
    prepare "$1"
    choose
    set_firewall
    write_files
    if [ "$settings" != $ETC/cluster.env ]; then
        before=$changed
        put $ETC/cluster.env 644 <"$settings"
        changed=$before
    fi
    # A role that this host has no more.
    for role in master worker; do
        case " $(roles) " in
            *" $role "*) ;;
            *)
                halt $role
                rm -f "$UNITS/pomona-$role.service"
                ;;
        esac
    done
    ! has_systemd || systemctl daemon-reload
    start
    prune
    say "this host is $POMONA_ROLE of $POMONA_CLUSTER at $POMONA_BIND"
}

main() {
    case ${1-} in
        -h | --help)
            sed -n '2,/^set -eu/{/^#/s/^# \{0,1\}//p}' "$0"
            exit 0
            ;;
    esac
    [ "$(id -u)" -eq 0 ] || fail "This needs root."
    self=$(readlink -f "$0")
    defaults
    case ${1-} in
        --status | --stop | --remove | --supervise)
            [ ! -f $ETC/cluster.env ] || read_settings $ETC/cluster.env
            case $1 in
                --status) status ;;
                --stop)
                    halt worker
                    halt master
                    ;;
                --remove) remove ;;
                --supervise) supervise "$2" ;;
            esac
            ;;
        --prepare) prepare "${2:-$ETC/cluster.env}" ;;
        -*) fail "There is no option $1; see --help." ;;
        *) install "${1:-$ETC/cluster.env}" ;;
    esac
}

main "$@"
