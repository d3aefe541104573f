package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/policy"
)

// errDenied is what explain ends with if the answer is no. It has been said.
var errDenied = errors.New("the policy denies it")

// resolveTime is how long a name may take to be looked up.
const resolveTime = 30 * time.Second

// explain tells how the running server would decide, and by which lines: culvertd explain user=alice addr=203.0.113.7 open=ftp.corp:21.
func (p program) explain(args []string) error {
	allowed, err := p.explained(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case err != nil:
		return &noAnswer{err}
	case !allowed:
		return errDenied
	}
	return nil
}

func (p program) explained(args []string) (allowed bool, err error) {
	var (
		file      string
		overrides []string
		asJSON    bool
	)
	f := newFlags("explain")
	f.StringVarP(&file, "config", "f", defaultConfig, "")
	f.StringArrayVarP(&overrides, "option", "o", nil, "")
	f.BoolVar(&asJSON, "json", false, "")
	if err := p.parse(f, args); err != nil {
		return false, err
	}
	q, err := parseQuestion(f.Args(), time.Now())
	if err != nil {
		return false, err
	}
	loaded, err := config.Load(file, overrides)
	if err != nil {
		return false, err
	}
	a, err := newExplainer(loaded.Config).answer(q)
	if err != nil {
		return false, err
	}
	show := a.text
	if asJSON {
		show = a.json
	}
	return a.allowed(), show(p.stdout)
}

// explainer answers questions by a configuration.
type explainer struct {
	config  *config.Config
	policy  *policy.Policy
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

func newExplainer(c *config.Config) *explainer {
	return &explainer{config: c, policy: c.Policy(), resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
}

// answer is all that there is to say to a question.
type answer struct {
	subject policy.Subject
	admit   policy.Explanation
	host    string // that was asked for, empty if there was no more to ask
	parts   []part // one for each address; empty if the subject isn't admitted
}

// part is the answer for one address.
type part struct {
	address netip.Addr // not valid if the name is refused before it is looked up, and of a listen
	port    uint16
	unread  bool // it is about an FTP command, and nobody reads those
	policy.Explanation
}

// allowed reports whether the server would do it: the first address that is permitted and answers is what it connects to.
func (a *answer) allowed() bool {
	return a.admit.Decision.Allowed() && anyAllowed(a.parts)
}

func anyAllowed(parts []part) bool {
	return slices.ContainsFunc(parts, func(p part) bool { return p.Decision.Allowed() })
}

// answer asks as the server does.
func (e *explainer) answer(q question) (*answer, error) {
	s, refused, err := e.subject(q)
	if err != nil {
		return nil, err
	}
	a := &answer{subject: s, host: q.target.Host, admit: e.policy.ExplainAdmit(s, q.time)}
	if a.admit.Decision.Allowed() && refused != nil {
		a.admit.Decision = policy.Decision{Rule: refused.Rule, Reason: refused.Reason}
	}
	if a.admit.Decision.Allowed() {
		a.parts, err = e.parts(s, q)
	}
	return a, err
}

// parts asks as package channels does for somebody who is logged in: may the name be looked up, then each address on its own.
func (e *explainer) parts(s policy.Subject, q question) ([]part, error) {
	r := policy.Request{Subject: s, Action: q.action, Target: q.target, Time: q.time}
	if q.action == policy.OpenData {
		r.Action = policy.Open // of the control channel, first
	}
	whole := e.policy.Explain(r)
	if asksToListen(q.action) || !whole.Decision.Allowed() {
		return []part{{port: q.target.Port, Explanation: whole}}, nil
	}
	addrs, err := e.addresses(q)
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, addr := range addrs {
		r.Target.Addr = addr
		one := part{address: addr, port: q.target.Port}
		if q.action == policy.OpenData {
			one.Explanation = e.policy.ExplainData(r, q.data)
		} else {
			one.Explanation = e.policy.Explain(r)
		}
		if q.ftp != "" {
			one.command(q.ftp)
		}
		parts = append(parts, one)
	}
	return parts, nil
}

// command goes on to a command on the control channel, if that may be opened.
func (p *part) command(line string) {
	rules := p.Decision.FTP
	switch {
	case !p.Decision.Allowed():
		p.Decision.Reason = "the control channel: " + p.Decision.Reason
	case rules == nil:
		p.unread = true
	default:
		steps, denied := channels.ExplainFTP(rules, line)
		if p.Steps = append(p.Steps, steps...); denied != nil {
			p.Decision = *denied
		}
	}
}

// addresses are those of the host that is asked for.
func (e *explainer) addresses(q question) ([]netip.Addr, error) {
	if len(q.addresses) > 0 {
		return q.addresses, nil
	}
	if addr, err := netip.ParseAddr(q.target.Host); err == nil {
		return []netip.Addr{addr.Unmap()}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	found, err := e.resolve(ctx, q.target.Host)
	if err != nil {
		return nil, fmt.Errorf("look %q up: %w; address= says which address to ask about", q.target.Host, err)
	}
	var addrs []netip.Addr
	for _, addr := range found[:min(len(found), channels.MaxAddresses)] {
		if addr = addr.Unmap(); !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("look %q up: it has no address", q.target.Host)
	}
	return addrs, nil
}

// subject completes who asks by what is known of them. It says what would keep them out before the policy is asked, if
// something would.
func (e *explainer) subject(q question) (policy.Subject, *auth.Refused, error) {
	who, err := asking(e.config, e.policy, q.time)
	if err != nil {
		return policy.Subject{}, nil, err
	}
	s, err := who.Known(q.subject)
	var refused *auth.Refused
	if errors.As(err, &refused) {
		return s, refused, nil
	}
	return s, nil, err
}
