package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/redirect"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// redirectCommand is `culvert redirect print`, which changes nothing: the rules are for whoever may put them in force.
func redirectCommand() command {
	return command{
		name: "redirect", args: "print", help: "rules that send FTP connections to -L ftp-redirect/, for nft",
		flags: func() *pflag.FlagSet { return new(redirectFlags).set() }, run: printRedirect,
		complete: func(s *suggestions, typed string) { s.add(typed, "print", "write the rules to the standard output") },
	}
}

// redirectFlags are the words of `culvert redirect print`.
type redirectFlags struct {
	port     uint16
	ftp      []uint
	users    []string
	from     []string
	to       []string
	bastion  []string
	iptables bool
}

func (f *redirectFlags) set() *pflag.FlagSet {
	s := pflag.NewFlagSet("redirect", pflag.ContinueOnError)
	s.Usage = func() {}
	s.Uint16Var(&f.port, "port", 2121, "`port` that culvert listens at by -L ftp-redirect/port")
	s.UintSliceVar(&f.ftp, "ftp-port", []uint{21}, "`port` of the FTP servers; may be repeated")
	s.StringSliceVar(&f.users, "user", nil, "`user` whose programs on this machine are redirected, by name or number; may be repeated")
	s.StringSliceVar(&f.from, "interface", nil, "`interface` where other machines' connections come in that are redirected; may be repeated")
	s.StringSliceVar(&f.to, "to", nil, "`network` that the FTP servers are in; may be repeated; anywhere if there is none")
	s.StringSliceVar(&f.bastion, "bastion", nil, "`host[:port]` of the SSH server, which is never redirected; may be repeated")
	s.BoolVar(&f.iptables, "iptables", false, "write a shell script for iptables in place of rules for nft")
	return s
}

func printRedirect(c *call) error {
	var f redirectFlags
	set := f.set()
	if err := set.Parse(c.args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return exitError(c.print("usage: culvert redirect print [flags]\n\n" + set.FlagUsages()))
		}
		return flagError(set, err)
	}
	if set.NArg() != 1 || set.Arg(0) != "print" {
		return c.misused(errors.New("write: culvert redirect print; culvert redirect --help says more"))
	}
	rules, err := f.rules()
	if err == nil {
		err = rules.Check()
	}
	if err != nil {
		return c.misused(err)
	}
	if f.iptables {
		return exitError(c.print(rules.IPTables()))
	}
	return exitError(c.print(rules.NFTables()))
}

func (f *redirectFlags) rules() (r redirect.Rules, err error) {
	r = redirect.Rules{Port: f.port, Interfaces: f.from}
	for _, port := range f.ftp {
		if port == 0 || port > 65535 {
			return r, fmt.Errorf("--ftp-port: %d is not a number from 1 to 65535", port)
		}
		r.ControlPorts = append(r.ControlPorts, uint16(port))
	}
	for _, network := range f.to {
		p, err := parseNetwork(network)
		if err != nil {
			return r, err
		}
		r.To = append(r.To, p)
	}
	if r.Users, err = f.uids(); err != nil {
		return r, err
	}
	for _, host := range f.bastion {
		at, err := lookUp(host)
		if err != nil {
			return r, fmt.Errorf("--bastion: %w", err)
		}
		r.Except = append(r.Except, at...)
	}
	return r, nil
}

// parseNetwork reads 10.9.0.0/16, or an address.
func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("--to: %q is not a network, such as 10.9.0.0/16", s)
	}
	return p, nil
}

// uids are the numbers of the users that are redirected: without a word, the one who asks.
func (f *redirectFlags) uids() (uids []int, err error) {
	if len(f.users)+len(f.from) == 0 {
		uid := os.Getuid()
		if sudo, err := strconv.Atoi(os.Getenv("SUDO_UID")); uid == 0 && err == nil {
			uid = sudo
		}
		if uid <= 0 { // what the system itself does, a culvertd on this machine for one, isn't meant
			return nil, errors.New("whose connections are redirected? say --user or --interface")
		}
		return []int{uid}, nil
	}
	for _, name := range f.users {
		uid, err := strconv.ParseUint(name, 10, 31)
		if err != nil {
			u, lookupErr := user.Lookup(name)
			if lookupErr != nil {
				return nil, fmt.Errorf("--user: %w", lookupErr)
			}
			if uid, err = strconv.ParseUint(u.Uid, 10, 31); err != nil {
				return nil, fmt.Errorf("--user: %q has no number", name)
			}
		}
		uids = append(uids, int(uid))
	}
	return uids, nil
}

// lookupTimeout is how long a name may take to be looked up.
const lookupTimeout = 10 * time.Second

// lookUp finds the addresses of host[:port]. The rules have no names in them.
func lookUp(s string) (all []netip.AddrPort, err error) {
	fields, err := sshconfig.Fields(s)
	port := uint16(22)
	switch {
	case err == nil && len(fields) == 2:
		port, err = sshconfig.Port(fields[1])
	case err == nil && len(fields) != 1:
		err = fmt.Errorf("%q is not host[:port], with an IPv6 address in brackets", s)
	}
	if err == nil {
		err = sshconfig.CheckHost(fields[0])
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", fields[0])
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		all = append(all, netip.AddrPortFrom(a.Unmap().WithZone(""), port))
	}
	return all, nil
}
