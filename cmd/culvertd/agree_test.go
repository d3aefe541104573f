package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/policy"
)

// chance makes random configurations and requests.
type chance struct {
	*rand.Rand
	ports []string
}

func (r chance) of(words ...string) string { return words[r.IntN(len(words))] }

func (r chance) words(most int, prefixes ...string) string {
	var all []string
	for range 1 + r.IntN(most) {
		host := r.of("localhost", "local*", "127.0.0.1", "127.0.0.2", "127.0.0.0/30", "127.0.0.2/31", "127.0.0.0/8", "[::1]", "*", "*", "[::ffff:127.0.0.1]")
		all = append(all, r.of(prefixes...)+host+":"+r.of("*", r.of(r.ports...), r.of(r.ports...)+","+r.of(r.ports...), "1-65535"))
	}
	return strings.Join(all, " ")
}

func (r chance) listens() string {
	if r.IntN(8) == 0 {
		return r.of("any", "none")
	}
	var all []string
	for range 1 + r.IntN(3) {
		all = append(all, r.of("", "", "ftp/")+r.of("localhost:", "*:", "127.0.0.1:", "127.*:", "[::1]:", "0.0.0.0:", "")+r.of("*", r.of(r.ports...)))
	}
	return strings.Join(all, " ")
}

// rules are the lines of one scope.
func (r chance) rules() string {
	var b strings.Builder
	maybe := func(in int, format string, args ...any) {
		if r.IntN(in) == 0 {
			fmt.Fprintf(&b, "  "+format+"\n", args...)
		}
	}
	maybe(3, "PermitOpen %s", r.words(3, "", "", "ftp/"))
	maybe(3, "PermitListen %s", r.listens())
	maybe(4, "GatewayPorts %s", r.of("no", "yes", "clientspecified"))
	maybe(20, "AllowUsers %s", r.of("alice", "*", "*@127.0.0.2", "alice bob@127.0.0.0/31"))
	maybe(20, "DenyUsers %s", r.of("mallory", "bob", "*@127.0.0.3"))
	maybe(20, "AllowGroups %s", r.of("finance", "staff wheel", "*"))
	maybe(20, "DenyGroups %s", r.of("wheel", "fin*"))
	maybe(12, "PermitOpen %s", r.of("any", "none"))
	maybe(5, "DenyOpen %s", r.words(2, ""))
	maybe(10, "AllowTcpForwarding %s", r.of("yes", "yes", "no", "local", "remote"))
	maybe(12, "DisableForwarding %s", r.of("yes", "no"))
	maybe(8, "FTPAccess %s", r.of("read-only", "list-only"))
	maybe(8, "FTPActive %s", r.of("no", "yes", "forward"))
	return b.String()
}

// match is a Match line that is the same for an hour around now.
func (r chance) match(now time.Time) string {
	hours := func(from, to int) string {
		at := func(h int) string { return now.Add(time.Duration(h) * time.Hour).Format("15:04") }
		return at(from) + "-" + at(to)
	}
	return "Match " + r.of(
		"User alice", "User bob", "User *,!bob", "Group finance", "Group staff", "Group *,!finance", "all", "LocalPort 1",
		"Address 127.0.0.1", "Address 127.0.0.2/31", "Address 127.0.0.*,!127.0.0.3", "Host 127.0.0.3", "LocalAddress 127.0.0.1",
		"Time "+hours(-2, 3), "Time "+hours(2, 5), "Time "+hours(3, 22), "User alice Address 127.0.0.2", "Group finance Time "+hours(-3, 2),
	) + "\n"
}

func (r chance) config(now time.Time) string {
	text := r.rules()
	if r.IntN(4) > 0 {
		text += "PermitOpen " + r.words(4, "", "ftp/") + "\nPermitListen " + r.listens() + "\n"
	}
	for range r.IntN(4) {
		text += r.match(now) + r.rules()
	}
	return text
}

// options are those of the key's line.
func (r chance) options() string {
	var all []string
	for range r.IntN(5) - 2 {
		all = append(all, fmt.Sprintf("permitopen=%q", r.words(1, "", "ftp/")))
	}
	for range r.IntN(4) - 2 {
		all = append(all, fmt.Sprintf("permitlisten=%q", r.of("", "", "ftp/")+r.of("localhost:", "")+r.of(r.ports...)))
	}
	switch r.IntN(12) {
	case 0:
		all = append(all, "no-port-forwarding")
	case 1:
		all = append(all, "restrict", "port-forwarding")
	case 2:
		all = append(all, r.of(`from="127.0.0.2"`, `from="127.0.0.0/8,!127.0.0.3"`, `expiry-time="20200101"`))
	}
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, ",") + " "
}

// ask is what to ask for.
func (r chance) ask(q question) question {
	port, _ := policy.ParsePort(r.of(r.ports...))
	if r.IntN(3) == 0 {
		q.action = policy.Listen
		if r.IntN(3) == 0 {
			q.action = policy.ListenFTP
		}
		q.target.Host = r.of("", "*", "localhost", "LocalHost", "127.0.0.1", "::1", "0.0.0.0", "127.0.0.3", "::ffff:127.0.0.1", "127.1", "gate.corp", "::1%lo")
		if q.target.Port = port; r.IntN(4) == 0 {
			q.target.Port = uint16(r.IntN(2) * 80) // one that the system chooses, or one that is root's
		}
		return q
	}
	q.action, q.target.Port = policy.Open, port
	q.target.Host = r.of("localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.3", "::1", "::ffff:127.0.0.2", "127.1", "0x7f.1", "0.0.0.0", "::1%lo")
	return q
}

// TestExplainAgreesWithTheServer asks a running bastion and explain the same, under random policies: they must say the same, by the same line.
func TestExplainAgreesWithTheServer(t *testing.T) {
	const policies, requests = 150, 30
	b := newBastion(t)
	r := chance{rand.New(rand.NewPCG(1, 2)), b.ports}
	counts := map[string]int{}
	for range policies {
		text := r.install(t, b)
		user, from := r.of("alice", "bob"), netip.MustParseAddr(r.of("127.0.0.1", "127.0.0.2", "127.0.0.3"))
		q := question{subject: policy.Subject{User: user, Addr: from, LocalAddr: netip.MustParseAddrPort(b.addr()), Key: ssh.FingerprintSHA256(b.signer.PublicKey())}}
		loaded, err := config.Load(b.path("sshd_config"), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := newExplainer(loaded.Config)
		problem := func(what string, a *answer) {
			t.Helper()
			var told bytes.Buffer
			_ = a.text(&told)
			t.Fatalf("%s asks for %+v: %s\n%s\n%s", user, q.target, what, &told, text)
		}

		q = r.ask(q)
		q.time = time.Now()
		a, err := e.answer(q)
		if err != nil {
			t.Fatalf("explain %+v: %v\n%s", q, err, text)
		}
		client, err := b.login(t, user, from)
		counts[fmt.Sprint("login ", err == nil)]++
		if record := b.ledger.take(); a.admit.Decision.Allowed() != (err == nil) || err != nil && record.Rule != a.admit.Decision.Rule {
			problem(fmt.Sprintf("login: %v, on record is %+v", err, record), a)
		}
		if err != nil {
			continue
		}
		for range requests {
			q = r.ask(q)
			if a.parts, err = e.parts(a.subject, q); err != nil {
				t.Fatalf("explain %+v: %v\n%s", q, err, text)
			}
			ask := askOpen
			if q.action == policy.Listen {
				ask = askListen
			} else if q.action == policy.ListenFTP {
				ask = askListenFTP
			}
			happened := ask(t, client, q.target.Host, q.target.Port)
			if what := disagreement(a, happened, b.ledger.take()); what != "" {
				problem(what, a)
			}
			counts[fmt.Sprint(q.action, " ", happened)]++
		}
		_ = client.Close()
	}
	t.Logf("%v", counts)
	for answer, least := range map[string]int{
		"login true": policies / 2, "login false": policies / 20,
		fmt.Sprint(policy.Open, " true"): 300, fmt.Sprint(policy.Open, " false"): 300,
		fmt.Sprint(policy.Listen, " true"): 30, fmt.Sprint(policy.Listen, " false"): 100,
		fmt.Sprint(policy.ListenFTP, " true"): 10, fmt.Sprint(policy.ListenFTP, " false"): 50,
	} {
		if counts[answer] < least {
			t.Errorf("%s was the answer %d times only: %v", answer, counts[answer], counts)
		}
	}
}

// install makes a random policy and random options of the user's keys the ones that hold. It returns them for the reader.
func (r chance) install(t *testing.T, b *bastion) string {
	t.Helper()
	text := b.config(r.config(time.Now()))
	b.write(t, "sshd_config", text)
	for _, user := range []string{"alice", "bob"} {
		options := r.options()
		b.write(t, user+".keys", "# the only key\n"+options+string(ssh.MarshalAuthorizedKey(b.signer.PublicKey())))
		text += user + ": " + options + "\n"
	}
	if err := b.reload(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return text
}

// disagreement says how the answer differs from what happened and is on record; empty if it doesn't.
func disagreement(a *answer, happened bool, record entry) string {
	last := a.parts[len(a.parts)-1].Decision // of several addresses, the last one is on record
	// A port that is taken is no matter of the policy.
	taken := record.Event == "listen.refused" && strings.Contains(record.Reason, "bind: ")
	switch {
	case a.allowed() != (happened || taken):
		return fmt.Sprintf("explain says %v, and it was %v: %+v", a.allowed(), happened, record)
	case !happened && (record.Rule != last.Rule || !strings.HasSuffix(record.Event, ".refused")):
		return fmt.Sprintf("explain names %q, on record is %+v", last.Rule, record)
	case record.Event == "listen.opened":
		for _, at := range record.Bound {
			if !slices.Contains(last.Bind, at.Addr()) || record.Rule != last.Rule {
				return fmt.Sprintf("explain binds %v, on record is %+v", last.Bind, record)
			}
		}
	case record.Event == "channel.opened":
		i := slices.IndexFunc(a.parts, func(p part) bool { return p.address == record.Address.Addr() })
		if i < 0 {
			return fmt.Sprintf("explain doesn't know the address on record: %+v", record)
		}
		if want := a.parts[i].Decision; want.Rule != record.Rule || (want.FTP != nil) != (record.FTP == "control") || !want.Allowed() {
			return fmt.Sprintf("explain says %+v, on record is %+v", want, record)
		}
	}
	return ""
}

func TestExplainLooksAtNoMoreAddressesThanTheServer(t *testing.T) {
	b := newBastion(t)
	b.write(t, "sshd_config", b.config("PermitOpen 192.0.2.0/28:22\nDenyOpen 192.0.2.0/29:*\n"))
	loaded, err := config.Load(b.path("sshd_config"), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := newExplainer(loaded.Config)
	e.resolve = func(context.Context, string) (addrs []netip.Addr, _ error) {
		for n := range 9 { // the last one alone is permitted
			addrs = append(addrs, netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}))
		}
		return addrs, nil
	}
	a, err := e.answer(question{
		subject: policy.Subject{User: "alice", Addr: netip.MustParseAddr("127.0.0.1")}, action: policy.Open,
		target: policy.Target{Host: "many.corp", Port: 22}, time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.allowed() || len(a.parts) != 8 {
		t.Errorf("allowed %t, with %d addresses; the server looks at 8", a.allowed(), len(a.parts))
	}
}
