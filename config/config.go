// Package config reads and validates sshd_config, as far as a forwarding bastion needs it and
// with a few words of culvert's own. A [Config] in hand is a valid one. The package reads that one
// file and those that it includes; it never listens, dials, resolves a name, or opens another file that the configuration names.
package config

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// Config is a valid configuration. It doesn't change, and serves any goroutine.
type Config struct {
	global   scope
	blocks   []*scope // in file order
	defaults scope
}

// scope is the lines outside of any Match, or under one Match line.
type scope struct {
	at       Position // of the Match line
	criteria policy.Criteria
	said     []condition // what the criteria were made of
	all      bool        // the line is Match all
	lines    []line
}

// line is one keyword with its value.
type line struct {
	at      Position
	keyword *keyword
	set     setter
}

// setter puts a value into s.
type setter func(s *Settings)

// Loaded is what came of reading a configuration.
type Loaded struct {
	Config   *Config // nil if there was an error
	Warnings []Warning

	// Files are the configuration and what it includes, in the order in which they were read.
	Files []string
	// SHA256 is the hash of all of their text, one after another, in hexadecimal; empty if nothing could be read.
	SHA256 string
}

// Load reads the file at path. Overrides are the arguments of -o, Keyword=value or Keyword value; as
// with sshd they are read before the file, as lines outside of any Match, so that they win over the
// file's own global lines and a matching Match block wins over them. Their positions read -o:1,
// -o:2 and so on. Port and ListenAddress of an override replace those of the file.
//
// If the file isn't valid, the error is an [Errors] that lists everything that is wrong with it.
// The rest of what is known of it is there even then.
func Load(path string, overrides []string) (Loaded, error) {
	r, err := newReader()
	if err != nil {
		return Loaded{}, err
	}
	r.sources.dir = filepath.Dir(path)
	text, err := r.sources.read(path)
	if err != nil {
		return Loaded{}, err
	}
	err = r.all(path, text, overrides)
	loaded := Loaded{Warnings: r.warnings, Files: r.sources.files, SHA256: r.sources.sha256()}
	if err == nil {
		loaded.Config = r.config
	}
	return loaded, err
}

// Global returns the settings outside of any Match.
func (c *Config) Global() Settings {
	return c.settings(nil)
}

// For returns the settings with the Match blocks that match s now. Before authentication, s is as
// far known as it is, and the user the one that is claimed.
func (c *Config) For(s policy.Subject, now time.Time) Settings {
	return c.settings(c.matching(s, now))
}

// Line returns the file:line from which For has the value of a keyword whose first line counts; nothing if it is the default.
func (c *Config) Line(name string, s policy.Subject, now time.Time) string {
	for _, sc := range append(c.matching(s, now), &c.global) {
		for _, l := range sc.lines {
			if l.keyword.name == name {
				return l.at.String()
			}
		}
	}
	return ""
}

func (c *Config) matching(s policy.Subject, now time.Time) (blocks []*scope) {
	for _, b := range c.blocks {
		if b.criteria.Match(s, now) {
			blocks = append(blocks, b)
		}
	}
	return blocks
}

// settings resolves each keyword: its first line, or all of them if it accumulates, in the matching
// blocks and then the global scope; without any, the default.
func (c *Config) settings(matching []*scope) Settings {
	var s Settings
	said := map[*keyword]Position{} // where first
	inMatch := map[*keyword]bool{}
	for _, sc := range append(slices.Clip(matching), &c.global) {
		for _, l := range sc.lines {
			k := l.keyword
			_, again := said[k]
			if again && k.repeats == firstWins || sc == &c.global && k.repeats == accumulatesInMatch && inMatch[k] {
				continue
			}
			l.set(&s)
			if !again {
				said[k] = l.at
			}
			inMatch[k] = inMatch[k] || sc != &c.global
		}
	}
	for _, l := range c.defaults.lines {
		if _, ok := said[l.keyword]; !ok {
			l.set(&s)
		}
	}
	s.lines = said
	s.combine()
	return s
}

// PasswordAuthentication reports whether it or KbdInteractiveAuthentication is yes for anybody, so that there is a PasswordFile.
func (c *Config) PasswordAuthentication() bool {
	return slices.ContainsFunc(append(slices.Clip(c.blocks), &c.global), func(sc *scope) bool {
		return slices.ContainsFunc(sc.lines, line.allowsPasswords)
	})
}

// MaxAuthTries returns the highest that anybody may have.
func (c *Config) MaxAuthTries() int {
	highest := 0
	for _, sc := range append(slices.Clip(c.blocks), &c.global) {
		highest = max(highest, c.settings([]*scope{sc}).MaxAuthTries)
	}
	return highest
}

// Policy returns the rules of the file, with the positions of their lines.
func (c *Config) Policy() *policy.Policy {
	var p policy.Policy
	c.global.addTo(&p.Global)
	c.defaults.addTo(&p.Global)
	for _, b := range c.blocks {
		block := policy.Block{Source: b.at.String(), Criteria: b.criteria}
		b.addTo(&block.Rules)
		p.Blocks = append(p.Blocks, block)
	}
	return &p
}

// addTo adds to r what it doesn't say yet.
func (sc *scope) addTo(r *policy.Rules) {
	for _, l := range sc.lines {
		if l.keyword.rule != nil {
			var s Settings
			l.set(&s)
			l.keyword.rule(r, l.at.String(), s)
		}
	}
}
