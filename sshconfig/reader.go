package sshconfig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Setter takes what files say.
type Setter interface {
	// Knows reports whether a keyword is one that it takes. Of the others, those that ssh(1) knows are ignored, or are errors if ignoring
	// them would lead elsewhere or trust somebody else.
	Knows(keyword string) bool
	// SetWords is given each line that is meant, in order: of most keywords the first counts. Its errors name the keyword.
	SetWords(keyword string, words []string) error
}

// Reader finds what files of ssh_config(5) say about one host.
type Reader struct {
	Sources []Source
	Home    string // of whoever asks; "" if there is none
	User    string // and their name on this machine
	Into    Setter
	// Log is told what is ignored, and why. If nil, nobody is.
	Log *slog.Logger

	// Names looks names up for CanonicalizeHostname. If nil, net.DefaultResolver does.
	Names interface {
		LookupCNAME(ctx context.Context, host string) (string, error)
	}
}

// Query is what is asked about.
type Query struct {
	Host string // as it was typed
	// Said is what has its value already, from the command line: the first value of each keyword, by its name in lower case.
	Said map[string]string
}

// Read reads the files, and returns what to connect to: the host as typed, its HostName, or what that is short for. It reads them
// twice where ssh(1) does: if a line wants that (Match final), and if short names of hosts are
// completed (CanonicalizeHostname). The error has all that is wrong with the files, a line each.
func (r *Reader) Read(ctx context.Context, q Query) (host string, err error) {
	p := &pass{Reader: r, ctx: ctx, typed: q.Host, host: q.Host, first: make(map[string]string), taken: make(map[string]bool)}
	maps.Copy(p.first, q.Said)
	files := &Files{Sources: r.Sources}
	if err := files.Walk(p); err != nil {
		return "", err
	}
	if host, err = p.hostName(); err != nil {
		return "", err
	}
	completes := p.completes()
	if completes {
		if host, err = p.complete(host); err != nil {
			return "", err
		}
	}
	if completes || p.again {
		p.host, p.first["hostname"], p.final = host, host, true
		if err := files.Walk(p); err != nil {
			return "", err
		}
	}
	return host, nil
}

// hostName returns what the host as typed stands for, as the lines so far have it.
func (p *pass) hostName() (string, error) {
	host, err := p.current()
	if err != nil {
		return "", err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.String(), nil
	}
	return lower(host), nil
}

// pass is one reading of the files.
type pass struct {
	*Reader
	ctx   context.Context
	typed string
	host  string            // what Host is about: as typed, and in the second pass what that stands for
	first map[string]string // the first value of each keyword that is meant, in lower case
	taken map[string]bool   // keyword and words of each line that is meant
	final bool              // the second
	again bool              // a second is asked for
}

// current is the name of the host as far as it is known.
func (p *pass) current() (string, error) {
	name, ok := p.first["hostname"]
	if !ok || p.final {
		return p.host, nil
	}
	host, err := expand(name, map[byte]string{'h': p.typed}, nil)
	if err != nil {
		return "", fmt.Errorf("HostName: %w", err)
	}
	return host, nil
}

func (p *pass) user() string {
	if name, ok := p.first["user"]; ok {
		return name
	}
	return p.User
}

// tokens are those of the lines so far.
func (p *pass) tokens() (Tokens, error) {
	host, err := p.current()
	t := Tokens{
		Host: host, Typed: p.typed, User: p.user(), Port: "22", LocalUser: p.User, Home: p.Home,
		HostKeyAlias: host, Jump: LastHop(p.first["proxyjump"]),
	}
	if port, ok := p.first["port"]; ok {
		t.Port = port
	}
	if alias, ok := p.first["hostkeyalias"]; ok {
		t.HostKeyAlias = alias
	}
	return t, err
}

// Block is for Host and Match.
func (p *pass) Block(l Line, outer bool) (begins, meant bool, err error) {
	switch strings.ToLower(l.Keyword) {
	case "host":
		if len(l.Words) == 0 {
			return true, false, errors.New("it has no value: it wants patterns of host names")
		}
		if slices.Contains(l.Words, "") {
			return true, false, errors.New("a pattern is empty")
		}
		return true, MatchWords(l.Words, p.host), nil
	case "match":
		meant, err := p.match(l, outer)
		return true, meant, err
	}
	return false, false, nil
}

// Path expands a word of Include.
func (p *pass) Path(word string) (string, error) {
	if !strings.ContainsAny(word, "%$") {
		return word, nil
	}
	t, err := p.tokens()
	if err != nil {
		return "", err
	}
	return t.Path(word)
}

// Visit takes a line that is neither a block's first nor an Include.
func (p *pass) Visit(l Line, meant bool) error {
	name := strings.ToLower(l.Keyword)
	if known, ok := synonyms[name]; ok {
		l.Keyword, name = known, strings.ToLower(known)
	}
	f, foreign := foreigns[name]
	switch {
	case name == "configfile":
		return errors.New("it is for the command line and for profiles: a file can't name another in its place")
	case p.Into.Knows(name) || slices.Contains(readers, name):
		foreign = false
	case foreign:
	case p.first["ignoreunknown"] != "" && MatchList(lower(p.first["ignoreunknown"]), name):
		p.debug(l, "the keyword isn't known, which IgnoreUnknown permits")
		return nil
	default:
		return errors.New("there is no such keyword: culvert(1) lists those that there are, and IgnoreUnknown names those to ignore")
	}
	if len(l.Words) == 0 || l.Words[0] == "" {
		return errors.New("it has no value")
	}
	if !meant {
		return nil
	}
	if name == "refuseconnection" {
		return fmt.Errorf("no connection: %s", strings.Join(l.Words, " "))
	}
	if foreign {
		if err := p.ignore(l, f); err != nil {
			return err
		}
	}
	return p.take(l, name)
}

// readers are the keywords that are about reading itself.
var readers = []string{
	"ignoreunknown", "tag", "canonicalizehostname", "canonicaldomains", "canonicalizemaxdots", "canonicalizefallbacklocal",
	"canonicalizepermittedcnames",
}

// take passes a line on that is meant.
func (p *pass) take(l Line, name string) error {
	text := name + " " + Join(l.Words)
	_, jumps := p.first["proxyjump"]
	_, proxied := p.first["proxycommand"]
	switch {
	case name == "proxycommand" && jumps, name == "proxyjump" && proxied && !strings.EqualFold(l.Words[0], "none"):
		p.debug(l, "it doesn't count: how to get there has been said before")
		return nil
	case p.taken[text]:
		return nil // as it is in the second pass
	}
	if _, ok := p.first[name]; !ok {
		p.first[name] = Join(l.Words)
		if len(l.Words) == 1 {
			p.first[name] = l.Words[0]
		}
	}
	p.taken[text] = true
	if !p.Into.Knows(name) {
		return nil
	}
	if p.Log != nil {
		p.Log.Debug("configuration", "at", l.At.String(), "keyword", l.Keyword, "value", Join(l.Words))
	}
	if err := p.Into.SetWords(l.Keyword, l.Words); err != nil {
		return &Error{At: l.At, Err: err}
	}
	return nil
}

// ignore reports what must not be ignored of a keyword that the caller doesn't take.
func (p *pass) ignore(l Line, f foreign) error {
	_, settled := p.first[strings.ToLower(l.Keyword)]
	if settled || slices.Contains(f.so, strings.ToLower(Join(l.Words))) {
		return nil
	}
	if f.strict {
		return fmt.Errorf("culvert can't do that, and must not ignore it: %s; --via ssh leaves it to ssh", f.why)
	}
	p.debug(l, f.why)
	return nil
}

func (p *pass) debug(l Line, why string) {
	if p.Log != nil && !p.final {
		p.Log.Debug("a line of a configuration file is ignored", "at", l.At.String(), "keyword", l.Keyword, "why", why)
	}
}

// names returns who looks names up.
func (p *pass) names() interface {
	LookupCNAME(ctx context.Context, host string) (string, error)
} {
	if p.Names == nil {
		return net.DefaultResolver
	}
	return p.Names
}
