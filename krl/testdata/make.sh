#!/bin/sh
# Makes keys, certificates and revocation lists with ssh-keygen, and the file "answers": what ssh-keygen -Q says of
# each certificate and key in each list. Run it in an empty directory. Private halves are removed.
set -eu
gen() { ssh-keygen -q -N '' -C "$1" -f "$1" -t "$2" ${3:+-b "$3"}; }
gen ca ed25519
gen ca2 ecdsa
gen ed ed25519
gen ec ecdsa
gen rsa rsa 2048
gen other ed25519

# certificate: name, authority, serial, key id, key
cert() {
	cp "$5.pub" "$1.pub"
	ssh-keygen -q -s "$2" -I "$4" -z "$3" -n alice "$1.pub"
	rm "$1.pub"
}
for serial in 0 1 7 8 100 149 150 151 1000 1002 1009 18446744073709551615; do
	cert "s$serial" ca "$serial" "number $serial" ed
done
cert mallory ca 5 mallory ec
cert mallory2 ca2 7 mallory rsa
cert ofother ca2 9 carol other

krl() { name=$1; shift; ssh-keygen -q -k -f "$name.krl" "$@"; }
spec() { printf '%s\n' "$@" >spec; }
krl keys ed.pub rsa.pub
spec "sha1: $(cat ed.pub)"; krl sha1 spec
spec "sha256: $(cat ec.pub)"; krl sha256 spec
spec "hash: $(ssh-keygen -l -f rsa.pub | cut -d ' ' -f 2)"; krl hash spec
spec 'serial: 7'; krl serial -s ca.pub spec
spec 'serial: 1' 'serial: 100' 'serial: 1000000' 'serial: 18446744073709551615'; krl list -s ca.pub spec
spec 'serial: 150-1000000'; krl range -s ca.pub spec
spec 'serial: 1000' 'serial: 1002' 'serial: 1004' 'serial: 1005' 'serial: 1009' 'serial: 1011' 'serial: 1013' 'serial: 1015'
krl bitmap -s ca.pub spec
spec 'id: mallory'; krl id -s ca.pub spec
spec 'id: mallory' 'serial: 7'; krl anyca -s none spec
krl cert s8-cert.pub
krl authority ca2.pub
krl empty
spec "sha256: $(cat other.pub)" 'serial: 149' 'id: number 8'; krl mixed -z 42 -s ca.pub ec.pub spec
krl mixed -u -s ca2.pub spec
{ echo '# revoked keys'; echo; cat ed.pub; sed 's/^/  /' ca2.pub; } >plain.keys
rm -f spec ca ca2 ed ec rsa other

for list in *.krl; do
	for key in *.pub; do
		if ssh-keygen -Q -f "$list" "$key" >/dev/null 2>&1; then echo "$list $key ok"; else echo "$list $key revoked"; fi
	done
done >answers
