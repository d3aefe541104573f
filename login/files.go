package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// IgnoresUnknown reports whether IgnoreUnknown permits that keyword isn't known.
func (c *Config) IgnoresUnknown(keyword string) bool {
	list := c.said["ignoreunknown"]
	return list != "" && sshconfig.MatchList(strings.ToLower(list), strings.ToLower(keyword))
}

// ReadFiles gives c what ~/.ssh/config and the system's ssh_config say about its host, or ConfigFile in their place, and then puts values in
// the places of tokens. It is called once, when the command line is in c: what has its value already keeps it.
func (c *Config) ReadFiles(ctx context.Context) error { return c.readFiles(ctx, partial{c}) }

// ReadFilesInto is [Config.ReadFiles] for whoever has more keywords than c.
func (c *Config) ReadFilesInto(ctx context.Context, to sshconfig.Setter) error {
	c.also = to.Knows
	return c.readFiles(ctx, to)
}

// partial is a configuration of which somebody else may have a part, whose keywords say nothing to it.
type partial struct{ *Config }

func (p partial) Knows(keyword string) bool {
	return Knows(keyword) || p.also != nil && p.also(keyword)
}

func (p partial) SetWords(keyword string, words []string) error {
	if !Knows(keyword) {
		return nil
	}
	return p.Config.SetWords(keyword, words)
}

func (c *Config) readFiles(ctx context.Context, to sshconfig.Setter) error {
	host, err := c.reader(to).Read(ctx, sshconfig.Query{Host: c.Host, Said: maps.Clone(c.said)})
	if err != nil {
		return err
	}
	c.HostName = host
	c.HostKeyAlias = strings.ToLower(c.HostKeyAlias)
	return c.expandTokens()
}

func (c *Config) reader(to sshconfig.Setter) *sshconfig.Reader {
	r := &sshconfig.Reader{Home: c.home, User: c.localUser, Log: c.Log, Into: to}
	dir := filepath.Join(c.home, ".ssh")
	switch {
	case strings.EqualFold(c.ConfigFile, "none"):
	case c.ConfigFile != "":
		r.Sources = []sshconfig.Source{{Path: c.ConfigFile, Must: true, Dir: dir, Home: c.home}}
	default:
		if c.home != "" {
			r.Sources = []sshconfig.Source{{Path: filepath.Join(dir, "config"), Owned: true, Dir: dir, Home: c.home}}
		}
		system := sshDirectory()
		r.Sources = append(r.Sources, sshconfig.Source{Path: filepath.Join(system, "ssh_config"), Dir: system})
	}
	return r
}

// Tokens are what stands for % and a letter in values of c.
func (c *Config) Tokens() sshconfig.Tokens {
	return sshconfig.Tokens{
		Host: c.Dialled(), Typed: c.Host, Port: strconv.Itoa(int(c.Port)), User: c.User, LocalUser: c.localUser, Home: c.home,
		HostKeyAlias: cmp.Or(c.HostKeyAlias, c.Host), Jump: sshconfig.LastHop(c.said["proxyjump"]),
	}
}

// expandTokens puts values in the places of tokens, now that they are known.
func (c *Config) expandTokens() error {
	tokens := c.Tokens()
	var errs []error
	expand := func(keyword string, values ...*string) {
		if !c.set[strings.ToLower(keyword)] {
			return // a default has none
		}
		for _, value := range values {
			expanded, err := tokens.Path(*value)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", keyword, err))
			}
			*value = expanded
		}
	}
	expand("IdentityFile", pointers(c.Identities)...)
	expand("CertificateFile", pointers(c.Certificates)...)
	expand("RevokedHostKeys", pointers(c.RevokedHostKeys)...)
	expand("UserKnownHostsFile", pointers(c.UserKnownHosts)...)
	if said := c.said["identityagent"]; c.AgentSocket != "" && said != "SSH_AUTH_SOCK" && !isVariable(said) {
		expand("IdentityAgent", &c.AgentSocket)
	}
	return errors.Join(errs...)
}

func pointers(values []string) []*string {
	all := make([]*string, len(values))
	for i := range values {
		all[i] = &values[i]
	}
	return all
}

// Hop returns the configuration of a jump host, which is one word of ProxyJump: what files say about it, and defaults. As with ssh(1), the
// command line of c is not about it; only the files are the same, the person, and whether they may be asked. Before the files are read,
// each of settings may say more.
func (c *Config) Hop(ctx context.Context, destination string, settings ...func(*Config) error) (*Config, error) {
	h := NewConfig(c.home, c.localUser)
	h.ConfigFile, h.AgentSocket, h.BatchMode = c.ConfigFile, DefaultAgent(), c.BatchMode
	h.Ask, h.Notice, h.Log, h.also = c.Ask, c.Notice, c.Log, c.also
	if err := h.SetAddress(destination); err != nil {
		return nil, fmt.Errorf("ProxyJump: %w", err)
	}
	for _, set := range settings {
		if err := set(h); err != nil {
			return nil, fmt.Errorf("jump host %s: %w", destination, err)
		}
	}
	if err := h.ReadFiles(ctx); err != nil {
		return nil, fmt.Errorf("jump host %s: %w", destination, err)
	}
	return h, nil
}
