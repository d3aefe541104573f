// Package profile reads culvert_config(5): tunnels with names. It doesn't open them.
package profile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// maxProfiles bounds the names in all files together.
const maxProfiles = 1000

// Profile is a tunnel with a name.
type Profile struct {
	Name    string
	At      sshconfig.Position // the first Tunnel line that names it
	Bastion string             // [user@]host[:port], as it is written

	person Person
	lines  []sshconfig.Line // that are meant, in their order
}

// Person is whose tunnels they are.
type Person struct {
	Home string // "" if there is none
	Name string // on this machine
}

// Files returns where the profiles of a person are: files of their own, then the system's. If file isn't empty, it is read in their place.
func Files(p Person, file string) []sshconfig.Source {
	if file != "" {
		return []sshconfig.Source{{Path: file, Must: true, Owned: true, Dir: filepath.Dir(file), Home: p.Home}}
	}
	var all []sshconfig.Source
	own, system := directories(p.Home)
	if own != "" {
		all = append(all, sshconfig.Source{Path: filepath.Join(own, "config"), Owned: true, Dir: own, Home: p.Home})
	}
	return append(all, sshconfig.Source{Path: filepath.Join(system, "config"), Owned: true, Dir: system})
}

// Load reads the profiles in files, in the order in which they are named there. Each is checked, but for what ssh_config(5) adds. The error
// has all that is wrong, a line each.
func Load(p Person, sources []sshconfig.Source) ([]*Profile, error) {
	files := &sshconfig.Files{Sources: sources}
	n := &names{}
	if err := files.Walk(n); err != nil {
		return nil, err
	}
	var errs []error
	if len(n.found) == 0 { // a Tunnel that is misspelt must not go unnoticed
		if err := files.Walk(&reader{profile: new(Profile)}); err != nil {
			errs = append(errs, err)
		}
	}
	for _, profile := range n.found {
		profile.person = p
		r := &reader{profile: profile}
		err := files.Walk(r)
		if err == nil {
			err = profile.check()
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return n.found, unite(errs)
}

// unite leaves lines out that are there already: what is wrong with a line is wrong in each profile that it is for.
func unite(errs []error) error {
	var all []error
	said := make(map[string]bool)
	for _, err := range errs {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !said[line] {
				said[line] = true
				all = append(all, errors.New(line))
			}
		}
	}
	return errors.Join(all...)
}

// Find returns the profile of a name.
func Find(profiles []*Profile, name string) (*Profile, error) {
	for _, p := range profiles {
		if p.Name == name {
			return p, nil
		}
	}
	if len(profiles) == 0 {
		return nil, fmt.Errorf("there is no tunnel %q, nor any other: culvert_config(5) says how to write one", name)
	}
	var known []string
	for _, p := range profiles {
		known = append(known, p.Name)
	}
	const most = 20
	listed, more := known, ""
	if len(known) > most {
		listed, more = known[:most], fmt.Sprintf(" and %d more", len(known)-most)
	}
	return nil, fmt.Errorf("there is no tunnel %q: %s", name, sshconfig.Meant(name, known, "there are "+strings.Join(listed, ", ")+more))
}

// Config returns the configuration of the tunnel: a new one at each call. The caller gives it its Ask and Notice. Files of
// ssh_config(5) are read for it, which may run commands (Match exec), and say less than the profile. Log is told what is ignored in them, and may be nil.
func (p *Profile) Config(ctx context.Context, log *slog.Logger) (*client.Config, error) {
	c, err := p.unread()
	if err != nil {
		return nil, err
	}
	c.Log = log
	if err := c.ReadFiles(ctx); err != nil {
		return nil, fmt.Errorf("tunnel %s: %w", p.Name, err)
	}
	return c, nil
}

// unread is the configuration without the files of ssh_config(5).
func (p *Profile) unread() (*client.Config, error) {
	c := client.NewConfig(p.person.Home, p.person.Name)
	c.AgentSocket = os.Getenv("SSH_AUTH_SOCK")
	var errs []error
	for _, l := range p.lines {
		if err := c.SetWords(l.Keyword, l.Words); err != nil {
			errs = append(errs, &sshconfig.Error{At: l.At, Err: err})
		}
	}
	if p.Bastion != "" {
		if err := c.SetAddress(p.Bastion); err != nil {
			errs = append(errs, err)
		}
	}
	return c, errors.Join(errs...)
}

// check reports what is wrong with the profile by itself.
func (p *Profile) check() error {
	if _, err := p.unread(); err != nil {
		return err
	}
	if p.Bastion == "" {
		return &sshconfig.Error{At: p.At, Keyword: "Tunnel " + p.Name, Err: errors.New("there is no Bastion: write Bastion [user@]host[:port]")}
	}
	return nil
}

// names finds the names of profiles.
type names struct{ found []*Profile }

func (n *names) Block(l sshconfig.Line, _ bool) (begins, meant bool, err error) {
	if !strings.EqualFold(l.Keyword, "Tunnel") {
		return false, false, nil
	}
	if len(l.Words) == 0 {
		return true, true, errors.New("it has no value: it wants names, or patterns of them")
	}
	for _, word := range l.Words {
		switch {
		case strings.ContainsAny(word, "*?") || strings.HasPrefix(word, "!"):
		case !validName(word):
			return true, true, fmt.Errorf("%q is not a name: it wants letters, digits, and ._- behind the first of them, at most %d in all", word, maxName)
		case n.has(word):
		case len(n.found) == maxProfiles:
			return true, true, fmt.Errorf("there are more than %d tunnels", maxProfiles)
		default:
			n.found = append(n.found, &Profile{Name: word, At: l.At})
		}
	}
	return true, true, nil
}

func (n *names) has(name string) bool {
	return slices.ContainsFunc(n.found, func(p *Profile) bool { return p.Name == name })
}

// Visit looks at what no profile may have meant for it.
func (n *names) Visit(l sshconfig.Line, _ bool) error {
	switch {
	case strings.EqualFold(l.Keyword, "Match"), strings.EqualFold(l.Keyword, "Host"):
		return errors.New("blocks begin with Tunnel here: write Tunnel and patterns of names")
	case len(l.Words) == 0 || l.Words[0] == "":
		return errors.New("it has no value")
	case strings.EqualFold(l.Keyword, "Bastion") && len(l.Words) > 1:
		return fmt.Errorf("%q is one word too many", l.Words[1])
	case strings.EqualFold(l.Keyword, "Bastion"):
		return client.NewConfig("", "").SetAddress(l.Words[0])
	}
	return nil
}

func (n *names) Path(word string) (string, error) { return word, nil }

// maxName is how long a name may be, in bytes: it may become a part of the name of a socket.
const maxName = 48

func validName(name string) bool {
	const first = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return name != "" && len(name) <= maxName && strings.Trim(name[:1], first) == "" && strings.Trim(name, first+"._-") == ""
}

// reader finds what is said about one profile.
type reader struct {
	profile       *Profile
	ignoreUnknown string
}

func (r *reader) Block(l sshconfig.Line, _ bool) (begins, meant bool, err error) {
	if !strings.EqualFold(l.Keyword, "Tunnel") {
		return false, false, nil
	}
	return true, sshconfig.MatchWords(l.Words, r.profile.Name), nil
}

func (r *reader) Path(word string) (string, error) { return word, nil }

func (r *reader) Visit(l sshconfig.Line, meant bool) error {
	name := strings.ToLower(l.Keyword)
	switch {
	case name == "bastion":
		if meant && r.profile.Bastion == "" { // it says less than a line for the user or the port of its own
			r.profile.Bastion = l.Words[0]
		}
		return nil
	case (*client.Config)(nil).Knows(name):
	case sshconfig.Foreign(name):
		return sshconfig.Misplaced(name)
	case r.ignoreUnknown != "" && sshconfig.MatchList(strings.ToLower(r.ignoreUnknown), name):
		return nil
	default:
		known := append(client.Keywords(), "Bastion", "Include", "Tunnel")
		return fmt.Errorf("there is no such keyword: %s", sshconfig.Meant(name, known, "culvert(1) and culvert_config(5) list those that there are"))
	}
	if !meant {
		return nil
	}
	if name == "ignoreunknown" && r.ignoreUnknown == "" {
		r.ignoreUnknown = l.Words[0]
	}
	r.profile.lines = append(r.profile.lines, l)
	return nil
}
