#!/bin/sh
# Gets the programs that the tests talk to: FTP servers, FTP clients, OpenSSH, mandoc, ip, and the C
# compiler that go test -race wants.
#
# What the machine has is used as it is. What it lacks is downloaded with apt-get and
# unpacked into .cache/peers, not installed: the three FTP servers conflict as packages, a package
# script would start a server on a public port, and a test has no business changing a machine.
# Only two things need root, or sudo without a password: apt-get update where the machine
# knows no packages yet, and the installation of a C compiler.
#
# It is quiet, quick and needs no network when everything is there already.
set -eu

# program and the Debian package that has it. nss_wrapper is a library, preloaded into sshd.
programs='
vsftpd                vsftpd
pure-ftpd             pure-ftpd
pure-pw               pure-ftpd-common
proftpd               proftpd-core
mod_deflate.so        proftpd-core
mod_tls.so            proftpd-mod-crypto
sshd                  openssh-server
ssh                   openssh-client
ssh-keygen            openssh-client
curl                  curl
lftp                  lftp
ncftp3                ncftp
ncftpget              ncftp
ncftpput              ncftp
ncftpls               ncftp
tnftp                 tnftp
wget                  wget
haproxy               haproxy
mandoc                mandoc
ip                    iproute2
zsh                   zsh
fish                  fish
nft                   nftables
iptables-nft          iptables
ip6tables-nft         iptables
tmux                  tmux
FTP.pm                perl
python3               python3
libnss_wrapper.so     libnss-wrapper
libuid_wrapper.so     libuid-wrapper
libproxychains.so.4   libproxychains4
'

cd "$(dirname "$0")/../.."
cache=$PWD/.cache/peers
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

say() { echo "peers: $*" >&2; }
fail() { say "$@"; exit 1; }

# as_root runs a command as root, or returns 125 where that can't be done without asking.
as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif sudo -n true 2>/dev/null; then
		sudo -n env LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
	else
		return 125
	fi
}

have() {
	[ -x "$cache/bin/$1" ] || case $1 in
	*.so | *.so.[0-9]) [ -e "$cache/bin/$1" ] || ldconfig -p | grep -q "/$1\$" ;;
	FTP.pm) [ -e "$cache/bin/perl5/Net/FTP.pm" ] || perl -MNet::FTP -e 1 2>/dev/null ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# missing prints a line "program package" for each program that is not there.
missing() {
	echo "$programs" | while read -r program package; do
		[ -z "$program" ] || have "$program" || echo "$program $package"
	done
}

update() {
	as_root apt-get -qq update >&2 && return
	fail "apt-get knows no packages and this user can't run it as root. Do: sudo apt-get update; then again: make peers"
}

# closure prints the package and those that it needs and the machine lacks. The C library is
# left out: it must match the loader, which is the machine's.
closure() {
	apt-get -s install --reinstall --no-install-recommends "$1" |
		awk '$1 == "Inst" && $2 !~ /^(libc6|libc-bin|locales)$/ { print $2 }'
}

# download gets the packages named into the current folder. apt's own user usually can't write
# there; root then has to do without that user.
download() {
	if [ "$(id -u)" -eq 0 ]; then
		apt-get -qq -o APT::Sandbox::User=root download "$@" >&2
	else
		apt-get -qq download "$@" >&2
	fi
}

unpack() {
	debs=$cache/debs.$$
	rm -rf "$debs"
	mkdir -p "$debs" "$cache/root"
	(cd "$debs" && download "$@") || return 1
	for deb in "$debs"/*.deb; do
		dpkg-deb -x "$deb" "$cache/root"
	done
	rm -rf "$debs"
}

# link puts the programs of the package into bin, as scripts that find the libraries beside them.
link() {
	mkdir -p "$cache/bin"
	echo "$programs" | while read -r program package; do
		[ "$package" = "$1" ] || continue
		have "$program" && continue
		found=$(cd "$cache/root" && find . -name "$program" -xtype f \( -path '*bin/*' -o -name '*.so' -o -name '*.so.[0-9]' -o -path '*/Net/FTP.pm' \) | head -n 1)
		[ -n "$found" ] || fail "package $package has no $program: please report this with your Debian release"
		case $program in
		*.so | *.so.[0-9]) ln -sf "../root/${found#./}" "$cache/bin/$program" ;;
		FTP.pm) ln -sfn "../root/${found%/Net/FTP.pm}" "$cache/bin/perl5" ;; # for perl -I
		*)
			cat >"$cache/bin/$program" <<SCRIPT
#!/bin/sh
root=\${0%/*}/../root
for d in "\$root"/usr/lib/*-linux-* "\$root"/lib/*-linux-*; do
	LD_LIBRARY_PATH=\${LD_LIBRARY_PATH:+\$LD_LIBRARY_PATH:}\$d
done
XTABLES_LIBDIR=\$(echo "\$root"/usr/lib/*-linux-*/xtables) # for iptables
export LD_LIBRARY_PATH XTABLES_LIBDIR
exec "\$root/${found#./}" "\$@"
SCRIPT
			chmod 755 "$cache/bin/$program"
			;;
		esac
	done
}

compiler() {
	command -v "${CC:-gcc}" >/dev/null && return
	say "installing gcc, which go test -race needs"
	apt-cache show gcc >/dev/null 2>&1 || update
	as_root apt-get -qq -y install --no-install-recommends gcc libc6-dev >/dev/null ||
		fail "there is no C compiler, which go test -race needs. Do: sudo apt-get install gcc libc6-dev"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

# What was unpacked for another release of the system would lack the libraries.
release=$(. /etc/os-release && echo "${ID:-linux} ${VERSION_ID:-}" && uname -m)
if [ "$(cat "$cache/release" 2>/dev/null)" != "$release" ]; then
	rm -rf "$cache/root" "$cache/bin"
	echo "$release" >"$cache/release"
fi

packages=$(missing | awk '{ print $2 }' | sort -u)
if [ -n "$packages" ]; then
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		fail "this machine has no apt-get. Install, in your system's way:" $(missing | awk '{ print $1 }')
	updated=
	for package in $packages; do
		apt-cache show "$package" >/dev/null 2>&1 || { update; updated=yes; break; }
	done
	for package in $packages; do
		say "unpacking $package into .cache/peers"
		wanted=$(closure "$package") || fail "apt-get can't resolve $package; apt-get check may tell why"
		if ! unpack $wanted; then
			# The usual reason is a list older than what the mirror still has.
			[ -z "$updated" ] || fail "apt-get can't download $package"
			update
			updated=yes
			unpack $(closure "$package") || fail "apt-get can't download $package"
		fi
		link "$package"
	done
fi
compiler

left=$(missing | awk '{ print $1 }')
[ -z "$left" ] || fail "still not there:" $left
for program in "$cache"/bin/*; do
	[ -f "$program" ] || continue
	lost=$(LD_LIBRARY_PATH=$(echo "$cache"/root/usr/lib/*-linux-* "$cache"/root/lib/*-linux-* | tr ' ' ':') \
		ldd "$(sed -n 's,^exec "$root\(.*\)" "$@"$,'"$cache/root"'\1,p' "$program")" 2>/dev/null | grep 'not found') || continue
	fail "$(basename "$program") lacks a library:" $lost
done
