package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestDecideAgreesWithOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	answers := map[string]int{}
	for range 40_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		d := p.Decide(r)
		want := oracle{s, r}.decide()
		if got := answerOf(d); got != want {
			t.Fatalf("%+v\n%+v\n got %+v (%s)\nwant %+v", s, r, got, d.Reason, want)
		}
		kind, _, _ := strings.Cut(want.rule, ":")
		answers[fmt.Sprint(kind, " ", want.allowed, " ", want.ftp+want.bind)]++
		if r.Action != Open || d.FTP == nil {
			continue
		}
		tls, opaque := oracle{s, r}.upstream(want.ftp)
		if gotTLS, gotOpaque := strings.TrimSpace(d.FTP.TLS.String()+" "+d.FTP.TLSRule), PortsText(d.FTP.OpaquePorts); gotTLS != tls || gotOpaque != opaque {
			t.Fatalf("%+v\n%+v\n got TLS %s, opaque %s\nwant %s, %s", s, r, gotTLS, gotOpaque, tls, opaque)
		}
		how, by, _ := strings.Cut(tls, " ")
		by, _, _ = strings.Cut(by, ":")
		answers[fmt.Sprint(how, " by ", by, " opaque ", opaque != "")]++
	}
	// The test means something only if it sees each kind of answer often.
	for _, kind := range []string{
		"permit true ftp", "permit true ", "permit false ", "key false ", "deny false ", "forwarding false ", "ports false ", " false ",
		"disable false ", "listen false ", "listen true 127.0.0.1 ::1", "listen true 0.0.0.0 ::",
	} {
		if answers[kind] < 100 {
			t.Errorf("%q was the answer %d times only: %v", kind, answers[kind], answers)
		}
	}
	for _, kind := range []string{
		"off by tls opaque false", "off by tls opaque true", "off by  opaque true", "prefer by tls opaque false", "require by tls opaque false", "implicit by permit opaque false",
		"implicit by key opaque false",
	} {
		if answers[kind] < 5 {
			t.Errorf("TLS %q was the answer %d times only: %v", kind, answers[kind], answers)
		}
	}
	for _, kind := range []string{"permit true control", "listen true 127.0.0.1", "listen true ftp127.0.0.1 ::1", "listen true ftp0.0.0.0 ::"} {
		if n := answers[kind]; n < 20 {
			t.Errorf("%q was the answer %d times only", kind, n)
		}
	}
}

func TestAdmitAgreesWithOracle(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	answers := map[string]int{}
	for range 20_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		d := p.Admit(r.Subject, r.Time)
		want := oracle{s, r}.admit()
		if got := answerOf(d); got != want {
			t.Fatalf("%+v\n%+v\n got %+v (%s)\nwant %+v", s, r.Subject, got, d.Reason, want)
		}
		kind, _, _ := strings.Cut(want.rule, ":")
		answers[fmt.Sprint(kind, " ", want.allowed)]++
	}
	for _, kind := range []string{" true", "denyusers false", "allowusers false", "allowusers true", "denygroups false", "allowgroups false", "allowgroups true"} {
		if answers[kind] < 100 {
			t.Errorf("%q was the answer %d times only: %v", kind, answers[kind], answers)
		}
	}
}

func TestExplanationsEndInTheDecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 10_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		e, admitted := p.Explain(r), p.ExplainAdmit(r.Subject, r.Time)
		if d := p.Decide(r); answerOf(e.Decision) != answerOf(d) || e.Decision.Reason != d.Reason {
			t.Fatalf("%+v\n%+v\n got %+v\nwant %+v", s, r, e.Decision, d)
		}
		if d := p.Admit(r.Subject, r.Time); answerOf(admitted.Decision) != answerOf(d) {
			t.Fatalf("%+v\n%+v\n got %+v\nwant %+v", s, r.Subject, admitted.Decision, d)
		}
		for _, e := range []Explanation{e, admitted} {
			// What decided was looked at.
			if e.Decision.Rule != "" && !slices.ContainsFunc(e.Steps, func(st Step) bool { return st.Source == e.Decision.Rule }) {
				t.Fatalf("%+v\n%+v\nno step is about %s: %+v", s, r, e.Decision.Rule, e.Steps)
			}
			if len(e.Steps) > 0 && matchSteps(e) != len(p.Blocks) {
				t.Fatalf("%+v\n%d Match lines, and of them told are %+v", s, len(p.Blocks), e.Steps)
			}
		}
	}
}

func matchSteps(e Explanation) (n int) {
	for _, step := range e.Steps {
		if step.Kind == KindMatch {
			n++
		}
	}
	return n
}

func TestRestrictionsNeverAllowMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	compared := 0
	for range 15_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		before, admitted := p.Decide(r), p.Admit(r.Subject, r.Time)

		narrower := s
		narrower.scopes = slices.Clone(s.scopes)
		global := &narrower.scopes[len(s.scopes)-1]
		switch rng.IntN(7) {
		case 0:
			i := rng.IntN(len(s.scopes))
			narrower.scopes[i].deny = append(randomWords(rng, 3, false), s.scopes[i].deny...)
		case 1:
			narrower.keyNo = true
		case 2:
			if s.key != "" {
				narrower.key = strings.Join(strings.Fields(s.key)[1:], " ")
				if narrower.key == "" { // no permitopen= at all is wider
					continue
				}
			} else {
				narrower.key = strings.Join(randomWords(rng, 3, true), " ")
			}
		case 3:
			if s.keyListen != "" {
				narrower.keyListen = strings.Join(strings.Fields(s.keyListen)[1:], " ")
				if narrower.keyListen == "" {
					continue
				}
			} else {
				narrower.keyListen = strings.Join(some(rng, 3, sketchListens), " ")
			}
		case 4:
			narrower.scopes[rng.IntN(len(s.scopes))].disable = "yes"
		case 5:
			global.denyUsers = append(some(rng, 2, sketchUsers), global.denyUsers...)
			global.denyGroups = append(some(rng, 2, sketchGroups), global.denyGroups...)
		case 6:
			r.Subject.KeyRules = nil
			before = p.Decide(r) // any key's options against none
		}
		p, key = narrower.policy(t)
		r.Subject.KeyRules = key
		after := p.Decide(r)
		if after.Allowed() && !before.Allowed() {
			t.Fatalf("%+v\nbecame %+v\nfor %+v: %+v, before %+v", s, narrower, r.Target, after, before)
		}
		if after := p.Admit(r.Subject, r.Time); after.Allowed() && !admitted.Allowed() {
			t.Fatalf("%+v\nbecame %+v\nfor %+v: %+v, before %+v", s, narrower, r.Subject, after, admitted)
		}
		// FTPAccess holds only for what is read as FTP.
		if r.Subject.KeyRules != nil && s.key == "" && before.FTP != nil && after.Allowed() && after.FTP == nil {
			t.Fatalf("%+v\nbecame %+v\nfor %+v: not read as FTP any more", s, narrower, r.Target)
		}
		if before.Allowed() {
			compared++
		}
	}
	if compared < 200 {
		t.Errorf("only %d were allowed to begin with", compared)
	}
}

// What may be opened at some address may be resolved.
func TestAllowedAddressMayBeResolved(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		s := randomSketch(rng)
		p, key := s.policy(t)
		r := randomRequest(rng, key)
		r.Action = Open
		if !p.Decide(r).Allowed() {
			continue
		}
		r.Target.Addr = netip.Addr{}
		if d := p.Decide(r); !d.Allowed() || d.FTP != nil && netipInvalid(r.Target.Host) {
			t.Fatalf("%+v\nfor %+v: %+v", s, r.Target, d)
		}
	}
}

func netipInvalid(host string) bool {
	_, err := netip.ParseAddr(strings.TrimSuffix(host, "."))
	return err != nil
}
