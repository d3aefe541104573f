package redirect

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rules says which connections are redirected. Port and ControlPorts are required, and Users or Interfaces.
type Rules struct {
	// Port is where culvert listens for them.
	Port uint16
	// ControlPorts are those of FTP servers, mostly 21.
	ControlPorts []uint16

	// Users have the connections of their programs on this machine redirected, by their numbers.
	Users []int
	// Interfaces are where connections of other machines come in that are redirected, too.
	Interfaces []string

	// To are the networks that the FTP servers are in. If it is empty, they may be anywhere but on this machine.
	To []netip.Prefix
	// Except are never redirected: the SSH server above all, where culvert itself connects to as one of Users.
	Except []netip.AddrPort
}

// interfaceName is what the kernel takes for the name of an interface, and a shell and nft for one word.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)

// Check returns an error if nothing would be redirected, or something that can't be.
func (r Rules) Check() error {
	switch {
	case r.Port == 0:
		return errors.New("the port of the ftp-redirect listener is missing")
	case len(r.ControlPorts) == 0 || slices.Contains(r.ControlPorts, 0):
		return errors.New("the port of the FTP servers is missing")
	case len(r.Users)+len(r.Interfaces) == 0:
		return errors.New("whose connections are redirected is missing")
	}
	for _, port := range r.ControlPorts {
		if DataPort(port) {
			return fmt.Errorf("port %d is one of those that data connections are told by: %d to %d", port, FirstDataPort, LastDataPort)
		}
	}
	for _, name := range r.Interfaces {
		if !interfaceName.MatchString(name) {
			return fmt.Errorf("%q is no name of an interface", name)
		}
	}
	return nil
}

// How long a server's data connections are redirected after a control connection to it has begun, and how many pairs of client and server are
// remembered: a session that is longer begins anew.
const (
	remembered     = 7 * 24 * 60 * 60 // seconds
	rememberedText = "7d"
	pairs          = 65535
)

// family is what differs between IPv4 and IPv6.
type family struct {
	ip, addr, set string // as nft calls them
	loopback      string
	command       string // of iptables
	is            func(netip.Addr) bool
}

var families = []family{
	{"ip", "ipv4_addr", "ftp4", "127.0.0.0/8", "iptables", netip.Addr.Is4},
	{"ip6", "ipv6_addr", "ftp6", "::1", "ip6tables", netip.Addr.Is6},
}

// of are those of r's networks and exceptions that are of a family, and whether any network but those of other families is left.
func (r Rules) of(f family) (to []string, except []netip.AddrPort, some bool) {
	for _, p := range r.To {
		if f.is(p.Addr()) {
			to = append(to, p.Masked().String())
		}
	}
	for _, e := range r.Except {
		if f.is(e.Addr()) {
			except = append(except, e)
		}
	}
	return to, except, len(r.To) == 0 || len(to) > 0
}

// NFTables is what nft -f takes: a table of its own, which takes the place of one that is there already.
func (r Rules) NFTables() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# FTP is redirected to culvert, which listens by -L ftp-redirect/%d.", r.Port)
	line("# In force by: sudo nft -f FILE    No more by: sudo nft delete table inet culvert_redirect")
	line("table inet culvert_redirect")
	line("delete table inet culvert_redirect")
	line("table inet culvert_redirect {")
	line("\t# Which client has had a control connection to which server: its data connections to that are redirected, too.")
	for _, f := range families {
		line("\tset %s { type %s . %s; flags dynamic,timeout; timeout %s; size %d; }", f.set, f.addr, f.addr, rememberedText, pairs)
	}
	line("\tchain redirected {")
	for _, f := range families {
		r.nftFamily(f, line)
	}
	line("\t}")
	if len(r.Users) > 0 {
		line("\tchain output {")
		line("\t\ttype nat hook output priority -100; policy accept;")
		line("\t\tmeta l4proto tcp meta skuid { %s } jump redirected", joined(r.Users))
		line("\t}")
	}
	if len(r.Interfaces) > 0 {
		line("\tchain prerouting {")
		line("\t\ttype nat hook prerouting priority -100; policy accept;")
		line("\t\tmeta l4proto tcp iifname { \"%s\" } jump redirected", strings.Join(r.Interfaces, `", "`))
		line("\t}")
	}
	line("}")
	return b.String()
}

func (r Rules) nftFamily(f family, line func(string, ...any)) {
	to, except, some := r.of(f)
	if !some {
		return
	}
	line("\t\t%s daddr %s return", f.ip, f.loopback)
	for _, e := range except {
		line("\t\t%s daddr %s tcp dport %d return", f.ip, e.Addr(), e.Port())
	}
	only := ""
	if len(to) > 0 {
		only = fmt.Sprintf("%s daddr { %s } ", f.ip, strings.Join(to, ", "))
	}
	line("\t\t%stcp dport { %s } update @%s { %s saddr . %s daddr } redirect to :%d", only, joined(r.ControlPorts), f.set, f.ip, f.ip, r.Port)
	line("\t\ttcp dport %d-%d %s saddr . %s daddr @%s redirect to :%d", FirstDataPort, LastDataPort, f.ip, f.ip, f.set, r.Port)
}

// IPTables is a shell script for machines whose packet filter is kept by iptables. It adds to the rules that are there.
func (r Rules) IPTables() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("#!/bin/sh -e")
	line("# FTP is redirected to culvert, which listens by -L ftp-redirect/%d.", r.Port)
	line("# In force by: sudo sh FILE    No more by deleting the jumps to CULVERT from OUTPUT and PREROUTING of the table nat")
	for _, f := range families {
		r.iptablesFamily(f, line)
	}
	return b.String()
}

func (r Rules) iptablesFamily(f family, line func(string, ...any)) {
	to, except, some := r.of(f)
	if !some {
		return
	}
	add := f.command + " -w -t nat -A "
	line("%s -w -t nat -N CULVERT 2>/dev/null || %s -w -t nat -F CULVERT", f.command, f.command)
	line("%sCULVERT -d %s -j RETURN", add, f.loopback)
	for _, e := range except {
		line("%sCULVERT -d %s -p tcp --dport %d -j RETURN", add, e.Addr(), e.Port())
	}
	if len(to) == 0 {
		to = []string{""}
	}
	for _, network := range to {
		if network != "" {
			network = "-d " + network + " "
		}
		for _, port := range r.ControlPorts {
			line("%sCULVERT %s-p tcp --dport %d -m recent --name %s --rdest --set -j REDIRECT --to-ports %d", add, network, port, f.set, r.Port)
		}
	}
	line("%sCULVERT -p tcp --dport %d:%d -m recent --name %s --rdest --rcheck --seconds %d -j REDIRECT --to-ports %d", add, FirstDataPort, LastDataPort, f.set, remembered, r.Port)
	jump := func(chain string) {
		line("%s -w -t nat -C %s -j CULVERT 2>/dev/null || %s%s -j CULVERT", f.command, chain, add, chain)
	}
	for _, uid := range r.Users {
		jump(fmt.Sprintf("OUTPUT -p tcp -m owner --uid-owner %d", uid))
	}
	for _, name := range r.Interfaces {
		jump("PREROUTING -p tcp -i " + name)
	}
}

// joined are numbers in a set of nft.
func joined[N ~int | ~uint16](numbers []N) string {
	var words []string
	for _, n := range numbers {
		words = append(words, strconv.Itoa(int(n)))
	}
	return strings.Join(words, ", ")
}
