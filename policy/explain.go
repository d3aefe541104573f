package policy

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Explanation is a decision and all that was looked at on the way to it.
type Explanation struct {
	Steps    []Step
	Decision Decision
}

// Step is one rule that was looked at, in the order of looking.
type Step struct {
	Kind   Kind   `json:"kind"`
	Source string `json:"source,omitempty"` // "sshd_config:33", empty for a default
	Rule   string `json:"rule"`             // the line, and of it the word that hit
	Hit    bool   `json:"hit"`              // it applies; of a KindForward, it permits
	Detail string `json:"detail,omitempty"`
}

// Kind is what a rule is about.
type Kind string

// The kinds of steps. Their texts are stable.
const (
	KindMatch   Kind = "match"   // a Match line
	KindForward Kind = "forward" // a line about a whole direction of forwarding
	KindDeny    Kind = "deny"    // a line that refuses what it names
	KindPermit  Kind = "permit"  // a line that permits what it names
	KindKey     Kind = "key"     // an option of the key
	KindData    Kind = "data"    // a line about FTP's data connections
	KindBind    Kind = "bind"    // a line about the addresses to listen on
	KindTLS     Kind = "tls"     // a line about TLS to an FTP server
)

// Result is what came of the step, in a few words for people.
func (s Step) Result() string {
	yes, no := "hit", "no hit"
	switch s.Kind {
	case KindMatch:
		yes, no = "yes", "no"
	case KindForward:
		yes, no = "permits", "refuses"
	case KindBind:
		return s.Detail
	}
	result := no
	if s.Hit {
		result = yes
	}
	if s.Detail != "" {
		result += " (" + s.Detail + ")"
	}
	return result
}

// Explain answers r as Decide does, by the same steps, and tells them.
func (p *Policy) Explain(r Request) Explanation {
	var tr trail
	d := p.decide(r, &tr)
	return Explanation{tr.steps, d}
}

// ExplainAdmit is [Policy.Admit] with its steps.
func (p *Policy) ExplainAdmit(s Subject, now time.Time) Explanation {
	var tr trail
	d := p.admit(s, now, &tr)
	return Explanation{tr.steps, d}
}

// ExplainData answers whether the data endpoint at may be opened, once it is announced on the control channel that an allowed Open of
// control makes. Its target must have an address.
func (p *Policy) ExplainData(control Request, at netip.AddrPort) Explanation {
	e := p.Explain(control)
	switch rules := e.Decision.FTP; {
	case !e.Decision.Allowed():
		e.Decision.Reason = "the control channel: " + e.Decision.Reason
		return e
	case rules == nil:
		e.Decision = Decision{Rule: e.Decision.Rule, Reason: "the control channel isn't read as FTP"}
		return e
	case !rules.Data:
		e.Decision = Decision{Rule: e.Decision.Rule, Reason: "PermitOpen and the key's permitopen don't both say ftp/"}
		return e
	}
	tr := trail{steps: e.Steps}
	if d, denied := p.foreignDenied(control, at.Addr().Unmap(), e.Decision.FTP, &tr); denied {
		return Explanation{tr.steps, d}
	}
	control.Action = OpenData
	control.Target.Port, control.Target.Addr = at.Port(), at.Addr()
	data := p.Explain(control)
	// The Match lines have been told.
	data.Steps = slices.DeleteFunc(data.Steps, func(s Step) bool { return s.Kind == KindMatch || s.Kind == KindForward })
	return Explanation{append(tr.steps, data.Steps...), data.Decision}
}

// foreignDenied looks at FTPDataAddress: a server may always announce its own address.
func (p *Policy) foreignDenied(control Request, addr netip.Addr, rules *FTP, tr *trail) (Decision, bool) {
	server := control.Target.Addr
	if t, err := newTarget(control); err == nil {
		server = t.addr
	}
	if addr == server.Unmap() {
		return Decision{}, false
	}
	line := p.rulesFor(control.Subject, control.Time, nil).FTPDataAddress
	i := slices.IndexFunc(rules.DataAddresses, func(n netip.Prefix) bool { return n.Contains(addr) })
	word, source := "", ""
	if line != nil {
		source = line.Source
	}
	if i >= 0 {
		word = rules.DataAddresses[i].String()
	}
	tr.line(KindData, source, "FTPDataAddress", word, i >= 0)
	if i >= 0 {
		return Decision{}, false
	}
	return Decision{Rule: source, Reason: "not in FTPDataAddress: the control connection's own address is opened instead"}, true
}

// trail collects the steps of an explanation. A nil trail collects nothing, so that deciding costs no more for it.
type trail struct{ steps []Step }

func (tr *trail) line(kind Kind, source, keyword, word string, hit bool) {
	if tr == nil {
		return
	}
	if word != "" {
		keyword += " " + word
	}
	tr.steps = append(tr.steps, Step{Kind: kind, Source: source, Rule: keyword, Hit: hit})
}

// open is a line of words such as PermitOpen has, of which word hit.
func (tr *trail) open(kind Kind, source, keyword string, word OpenPattern, hit bool, t target) {
	switch {
	case tr == nil:
		return
	case hit:
		tr.line(kind, source, keyword, word.String(), true)
	default:
		tr.line(kind, source, keyword, "", false)
		tr.detail(t.known())
		return
	}
	if word.net.IsValid() && t.name != "" {
		tr.detail(t.known())
	}
}

// active is FTPActive; that it isn't served goes without saying where no line says so.
func (tr *trail) active(line *Line[Active]) {
	if line != nil && line.Source != "" {
		tr.line(KindData, line.Source, "FTPActive", line.Value.String(), line.Value == ActiveForward)
	}
}

// targeted is a line that is for some targets, and for t or not.
func (tr *trail) targeted(source, keyword, word string, hit bool, t target) {
	if tr == nil {
		return
	}
	tr.line(KindTLS, source, keyword, word, hit)
	tr.detail(t.known())
}

func (tr *trail) listen(kind Kind, source, keyword string, word ListenPattern, hit bool) {
	switch {
	case tr == nil:
	case hit:
		tr.line(kind, source, keyword, word.String(), true)
	default:
		tr.line(kind, source, keyword, "", false)
	}
}

func (tr *trail) bind(line *Line[GatewayPorts], addrs []netip.Addr) {
	if tr == nil {
		return
	}
	source := ""
	if line != nil {
		source = line.Source
	}
	tr.line(KindBind, source, "GatewayPorts", value(line).String(), true)
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	tr.detail(strings.Join(words, " and "))
}

// block is a Match line. Of several criteria, the first that doesn't hold is named.
func (tr *trail) block(b *Block, matches bool, s Subject, now time.Time) {
	if tr == nil {
		return
	}
	tr.line(KindMatch, b.Source, "Match", b.Criteria.String(), matches)
	if failed, ok := b.Criteria.firstFailing(s, now); ok && len(b.Criteria) > 1 {
		tr.detail("not " + failed.String())
	}
}

// detail is about the last step.
func (tr *trail) detail(text string) { tr.steps[len(tr.steps)-1].Detail = text }

// known is what of a name's address is known; empty for an address.
func (t target) known() string {
	switch {
	case t.name == "":
		return ""
	case !t.addr.IsValid():
		return t.name + " isn't looked up yet"
	}
	return t.name + " is " + t.addr.String()
}
