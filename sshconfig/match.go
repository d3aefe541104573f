package sshconfig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// execTimeout is how long the command of Match exec may take: a test of where one is, not a dialogue.
const execTimeout = time.Minute

// criterion is one of Match.
type criterion struct {
	name    string
	negated bool
	value   string
}

// bare are the criteria without a value.
var bare = map[string]bool{"all": true, "canonical": true, "final": true}

// criteria reads the words of a Match line.
func criteria(words []string) ([]criterion, error) {
	var all []criterion
	for i := 0; i < len(words); i++ {
		var c criterion
		word, value, assigned := strings.Cut(words[i], "=")
		c.name, c.negated = strings.CutPrefix(lower(word), "!")
		_, known := criterionTests[c.name]
		switch {
		case bare[c.name] && !assigned:
		case !known:
			return nil, fmt.Errorf("there is no criterion %q; if your ssh has it, try --via ssh", word)
		case assigned:
			c.value = value
		case i+1 == len(words):
			return nil, fmt.Errorf("the criterion %q has no value", word)
		default:
			i++
			c.value = words[i]
		}
		if c.value == "" && !bare[c.name] && c.name != "tagged" && c.name != "command" {
			return nil, fmt.Errorf("the criterion %q has no value", word)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("it has no criterion")
	}
	return all, checkAll(all)
}

// checkAll refuses "all" beside others than canonical and final.
func checkAll(all []criterion) error {
	for i, c := range all {
		if c.name == "all" && (i > 1 || i != len(all)-1 || i == 1 && !bare[all[0].name]) {
			return errors.New("all stands alone, or behind canonical or final")
		}
	}
	return nil
}

// match reports whether all criteria of a Match line hold. If outer is unset it doesn't matter, and nothing is done for it.
func (p *pass) match(l Line, outer bool) (bool, error) {
	all, err := criteria(l.Words)
	if err != nil {
		return false, err
	}
	holds := true
	for _, c := range all {
		if c.name == "final" && !c.negated {
			p.again = true
		}
		if !holds || !outer {
			holds = false
			continue // what is in the rest may be dear
		}
		if bare[c.name] {
			holds = (c.name == "all" || p.final) != c.negated
			continue
		}
		hit, err := criterionTests[c.name](p, l, c.value)
		if err != nil {
			return false, fmt.Errorf("%s: %w", c.name, err)
		}
		holds = hit != c.negated
	}
	return holds, nil
}

// criterionTests are the criteria with a value.
var criterionTests = map[string]func(p *pass, l Line, value string) (bool, error){
	"host": func(p *pass, _ Line, value string) (bool, error) {
		host, err := p.current()
		return MatchList(lower(value), lower(host)), err
	},
	"originalhost": func(p *pass, _ Line, value string) (bool, error) {
		return MatchList(lower(value), lower(p.typed)), nil
	},
	"user":      func(p *pass, _ Line, value string) (bool, error) { return MatchList(value, p.user()), nil },
	"localuser": func(p *pass, _ Line, value string) (bool, error) { return MatchList(value, p.User), nil },
	"tagged":    func(p *pass, _ Line, value string) (bool, error) { return matchText(value, p.first["tag"]), nil },
	// What ssh(1) is asked to do is always the same here: a session of no kind, without a command.
	"command":     func(_ *pass, _ Line, value string) (bool, error) { return value == "", nil },
	"sessiontype": func(_ *pass, _ Line, value string) (bool, error) { return MatchList(value, "none"), nil },
	// No version of OpenSSH is this one.
	"version":      func(_ *pass, _ Line, value string) (bool, error) { return MatchList(value, "culvert"), nil },
	"localnetwork": func(_ *pass, _ Line, value string) (bool, error) { return onNetwork(value) },
	"exec":         (*pass).succeeds,
}

// matchText is for what may be nothing, which only nothing matches.
func matchText(list, text string) bool {
	if text == "" || list == "" {
		return text == list
	}
	return MatchList(list, text)
}

// onNetwork reports whether this machine has an address in one of the networks.
func onNetwork(list string) (bool, error) {
	var networks []netip.Prefix
	for word := range strings.SplitSeq(list, ",") {
		network, err := netip.ParsePrefix(word)
		if addr, notAddr := netip.ParseAddr(word); notAddr == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil || network != network.Masked() {
			return false, fmt.Errorf("%q is not a network, such as 10.1.0.0/16", word)
		}
		networks = append(networks, network)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return false, err
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return false, err
		}
		for _, a := range addrs {
			if n, err := netip.ParsePrefix(a.String()); err == nil && contains(networks, n.Addr()) {
				return true, nil
			}
		}
	}
	return false, nil
}

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// succeeds runs the command of Match exec. It must stand in a file that nobody else can write to.
func (p *pass) succeeds(l Line, command string) (bool, error) {
	if !l.ours {
		return false, fmt.Errorf("%s may be written by others or is not yours, so no command of it is run", l.At.File)
	}
	t, err := p.tokens()
	if err != nil {
		return false, err
	}
	if command, err = t.Command(command, true); err != nil {
		return false, err
	}
	if p.Log != nil {
		p.Log.Debug("running the command of a Match line", "at", l.At.String(), "command", command)
	}
	ctx, cancel := context.WithTimeout(p.ctx, execTimeout)
	defer cancel()
	cmd, err := shell(ctx, command)
	if err != nil {
		return false, err
	}
	var said bytes.Buffer
	cmd.Stderr = &limited{b: &said}
	cmd.WaitDelay = time.Second // a child of it may hold stderr
	err = cmd.Run()
	if p.Log != nil && said.Len() > 0 {
		p.Log.Debug("the command of a Match line says", "at", l.At.String(), "text", Printable(said.String()))
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, fmt.Errorf("the command %q didn't end within %v", command, execTimeout)
	case errors.As(err, &exit) && exit.Exited():
		return false, nil
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return false, fmt.Errorf("run the command %q: %w", command, err)
	}
	return true, nil
}

// limited keeps the beginning of what is written.
type limited struct{ b *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := 500 - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
