#!/usr/bin/env bash
# Makes certificates for tests of TLS, for Kafka and Redis alike. The keys are EC P-256, in PKCS#8, not encrypted.
# Not allowed here: a certificate that anything outside the tests trusts, or that is valid for longer than VALID_DAYS.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/lib.sh
source "$HERE/lib.sh"

VALID_DAYS=7

usage() {
    cat <<'TEXT'
usage: certs.sh DIR   makes these files in DIR, and replaces those of an earlier run:
  ca.pem            the CA
  server.pem        a server's certificate with its chain, for localhost, 127.0.0.1 and ::1
  wrong-host.pem    the same, for other.invalid only
  client.pem        a client's certificate, CN=scan
  other-ca.pem      an unrelated CA
  other-client.pem  a client's certificate of that CA, CN=scan too
Each NAME.pem has its key in NAME.key. NAME-keystore.pem contains both, because Kafka and its tools want them in one file.
TEXT
}

main() {
    cd "$1"
    authority ca "scan test CA"
    authority other-ca "another test CA"
    certificate ca server localhost serverAuth "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    certificate ca wrong-host other.invalid serverAuth "subjectAltName=DNS:other.invalid"
    certificate ca client scan clientAuth
    certificate other-ca other-client scan clientAuth
}

# authority NAME CN
authority() {
    create "$1" "$2" -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign"
}

# certificate CA NAME CN USAGE [EXTENSION…]
certificate() {
    local ca=$1 name=$2 cn=$3 usage=$4 extension extensions=()
    shift 4
    for extension in "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" "extendedKeyUsage=$usage" "$@"; do
        extensions+=(-addext "$extension")
    done
    create "$name" "$cn" -CA "$ca.pem" -CAkey "$ca.key" "${extensions[@]}"
    cat "$ca.pem" >>"$name.pem"
    (umask 077 && cat "$name.key" "$name.pem" >"$name-keystore.pem")
}

# create NAME CN OPTION…: a key, and a certificate with no other extensions than those in the options. The machine's openssl.cnf is not read,
# because it would add some.
create() {
    local name=$1 cn=$2 log
    shift 2
    log=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -days "$VALID_DAYS" -subj "/CN=$cn" \
        -config <(printf '[req]\ndistinguished_name = subject\n[subject]\n') -keyout "$name.key" -out "$name.pem" "$@" 2>&1) ||
        die "openssl could not create $name.pem: $log"
}

case "${1:-}" in
-h | --help)
    usage
    exit 0
    ;;
esac
[[ $# -eq 1 ]] || { usage >&2; exit 2; }
need openssl
mkdir -p "$1"
main "$1"
