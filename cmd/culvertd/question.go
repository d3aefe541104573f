package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// question is what explain is asked.
type question struct {
	subject   policy.Subject // what is given of it; with Key, if one is, and no KeyRules
	action    policy.Action
	target    policy.Target // of an OpenData, that of the control channel
	addresses []netip.Addr  // of the target; if empty, they are looked up
	data      netip.AddrPort
	ftp       string // a command on the control channel that open= makes; empty for none
	time      time.Time
}

// word is a name=value of a command line.
type word struct {
	name string
	set  func(q *question, value string) error
}

var words = []word{
	{"user", func(q *question, value string) error { q.subject.User = value; return nil }},
	{"addr", func(q *question, value string) (err error) { q.subject.Addr, err = parseAddr(value); return err }},
	{"host", func(q *question, value string) error { q.subject.Host = value; return nil }},
	{"laddr", func(q *question, value string) error {
		addr, err := parseAddr(value)
		q.subject.LocalAddr = netip.AddrPortFrom(addr, q.subject.LocalAddr.Port())
		return err
	}},
	{"lport", func(q *question, value string) error {
		port, err := policy.ParsePort(value)
		q.subject.LocalAddr = netip.AddrPortFrom(q.subject.LocalAddr.Addr(), port)
		return err
	}},
	{"group", func(q *question, value string) error {
		q.subject.Groups = append(q.subject.Groups, strings.Split(value, ",")...)
		return nil
	}},
	{"key", func(q *question, value string) error {
		if !strings.HasPrefix(value, "SHA256:") {
			return errors.New("it wants a fingerprint as ssh-keygen -l prints it, SHA256:…")
		}
		q.subject.Key = value
		return nil
	}},
	{"time", func(q *question, value string) (err error) {
		if value == "" {
			return errors.New("it wants a time such as 2026-06-01T08:30")
		}
		q.time, err = parseWhen(value, q.time)
		return err
	}},
	{"open", func(q *question, value string) (err error) {
		q.action = max(q.action, policy.Open)
		q.target.Host, q.target.Port, err = splitTarget(value)
		return err
	}},
	{"data", func(q *question, value string) (err error) {
		q.action = policy.OpenData
		if q.data, err = netip.ParseAddrPort(value); err != nil {
			return errors.New("it wants address:port, as an FTP server announces it")
		}
		return nil
	}},
	{"ftp", func(q *question, value string) error {
		if q.ftp = value; value == "" {
			return errors.New("it wants an FTP command such as RETR /pub/x")
		}
		return nil
	}},
	{"listen", func(q *question, value string) (err error) {
		q.action = policy.Listen
		value, ftp := strings.CutPrefix(value, "ftp/")
		if ftp {
			q.action = policy.ListenFTP
		}
		q.target.Host, q.target.Port, err = splitListen(value)
		return err
	}},
	{"address", func(q *question, value string) error {
		addr, err := parseAddr(value)
		q.addresses = append(q.addresses, addr)
		return err
	}},
}

// parseQuestion reads the words of a command line.
func parseQuestion(args []string, now time.Time) (question, error) {
	q := question{time: now}
	seen := map[string]bool{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		i := slices.IndexFunc(words, func(w word) bool { return w.name == name })
		switch {
		case !ok || i < 0:
			return question{}, &usageError{fmt.Sprintf("explain doesn't know what %q is", arg)}
		case seen[name] && name != "group" && name != "address":
			return question{}, &usageError{fmt.Sprintf("%s= stands there twice", name)}
		}
		seen[name] = true
		if err := words[i].set(&q, value); err != nil {
			return question{}, fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	switch {
	case q.subject.User == "" || !q.subject.Addr.IsValid():
		return question{}, &usageError{"explain wants user= and addr="}
	case q.action == 0 || seen["open"] == seen["listen"], seen["data"] && !seen["open"]:
		return question{}, &usageError{"explain wants open= or listen=, or data= with the open= of its control channel"}
	case seen["ftp"] && (!seen["open"] || seen["data"]):
		return question{}, &usageError{"ftp= is a command on the control channel that open= makes"}
	case seen["address"] && !seen["open"]:
		return question{}, &usageError{"address= says what the host of open= is"}
	}
	return q, nil
}

func parseAddr(value string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(strings.Trim(value, "[]"))
	if err != nil {
		return netip.Addr{}, errors.New("it is not an address")
	}
	return addr.Unmap(), nil
}

// splitTarget reads host:port as a client asks for it.
func splitTarget(value string) (host string, port uint16, err error) {
	host, number, err := net.SplitHostPort(value)
	if err != nil {
		return "", 0, errors.New("it wants host:port; an IPv6 address stands in brackets")
	}
	port, err = policy.ParsePort(number)
	return host, port, err
}

// asksToListen reports whether a is about a port to listen on.
func asksToListen(a policy.Action) bool { return a == policy.Listen || a == policy.ListenFTP }

// splitListen reads [address:]port as ssh -R has it: without an address, the client asks for localhost. Port 0 is one that the
// system chooses.
func splitListen(value string) (host string, port uint16, err error) {
	host, number := "localhost", value
	if strings.Contains(value, ":") {
		if host, number, err = net.SplitHostPort(value); err != nil {
			return "", 0, errors.New("it wants [address:]port; an IPv6 address stands in brackets")
		}
	}
	if number == "0" {
		return host, 0, nil
	}
	port, err = policy.ParsePort(number)
	return host, port, err
}
