package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkWhole finds what is wrong although each line is right.
func (r *reader) checkWhole(file string) {
	s := r.config.settings(nil)
	whole := Position{File: file}
	if len(s.HostKeys) == 0 && !r.failed("HostKey") {
		r.fail(whole, "HostKey", errors.New(`at least one is needed: make them with "culvertd keygen DIR"`))
	}
	for _, sc := range r.scopes() {
		for _, l := range sc.lines {
			r.checkLine(l, sc, s)
		}
	}
	r.checkMethods()
}

// checkMethods refuses AuthenticationMethods that nobody can satisfy, as sshd does. In a Match block it is a warning, since other blocks may
// switch the methods on.
func (r *reader) checkMethods() {
	for _, sc := range r.scopes() {
		i := slices.IndexFunc(sc.lines, func(l line) bool { return l.keyword.name == methodsName })
		if i < 0 {
			continue
		}
		s := r.config.settings([]*scope{sc})
		if slices.ContainsFunc(s.AuthenticationMethods, s.enabled) || s.AuthenticationMethods == nil {
			continue
		}
		const text = "each list has a method that is not enabled, so nobody gets in"
		if sc == &r.config.global {
			r.fail(sc.lines[i].at, methodsName, errors.New(text))
		} else {
			r.warn(sc.lines[i].at, methodsName, text)
		}
	}
}

// enabled reports whether each method of a list may be used.
func (s *Settings) enabled(methods []string) bool {
	return !slices.ContainsFunc(methods, func(name string) bool {
		method, _, _ := strings.Cut(name, ":")
		return !map[string]bool{
			"publickey": s.PubkeyAuthentication, "password": s.PasswordAuthentication, "keyboard-interactive": s.KbdInteractiveAuthentication,
		}[method]
	})
}

// checkLine finds what a line lacks elsewhere in the file.
func (r *reader) checkLine(l line, sc *scope, global Settings) {
	var own Settings
	l.set(&own)
	switch {
	case l.allowsPasswords() && global.PasswordFile == "" && !r.failed("PasswordFile"):
		r.fail(l.at, l.keyword.name, errors.New(`it needs a PasswordFile: name one, and make it with culvertd passwd -f FILE USER`))
	case own.AuthorizedKeysCommand != "":
		r.checkCommandUser(l, sc, "AuthorizedKeysCommandUser", func(s Settings) string { return s.AuthorizedKeysCommandUser })
	case own.AuthorizedPrincipalsCommand != "":
		r.checkCommandUser(l, sc, "AuthorizedPrincipalsCommandUser", func(s Settings) string { return s.AuthorizedPrincipalsCommandUser })
	}
	for _, listen := range own.listen {
		if !global.AddressFamily.has(listen.addr.Addr()) {
			r.fail(l.at, l.keyword.name, fmt.Errorf("AddressFamily leaves %s out", listen.addr.Addr()))
		}
	}
}

// checkCommandUser refuses a command without a user, as sshd does. The user may stand in the same scope or outside of Match.
func (r *reader) checkCommandUser(l line, sc *scope, keyword string, user func(Settings) string) {
	if user(r.config.settings([]*scope{sc})) == "" && !r.failed(keyword) {
		r.fail(l.at, l.keyword.name, fmt.Errorf("it needs an %s, an account of the operating system that does nothing else", keyword))
	}
}

func (l line) allowsPasswords() bool {
	var s Settings
	l.set(&s)
	return s.PasswordAuthentication || s.KbdInteractiveAuthentication
}

// failed reports whether a line of the keyword was refused, so that it counts as there.
func (r *reader) failed(keyword string) bool {
	return slices.ContainsFunc(r.errs, func(e *Error) bool { return e.Keyword == keyword })
}

func (r *reader) scopes() []*scope {
	return append([]*scope{&r.config.global}, r.config.blocks...)
}
