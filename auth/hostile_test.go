package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// evidence is one step that was right, as whoever wrote it down saw it: for which name, and what was shown.
type evidence struct {
	user, method   string // RFC 4252's name
	key            string
	password, code bool
}

// hostile is a client that follows no order: it changes its name between steps, shows keys of others, says codes again and
// uses methods that are nobody's turn.
type hostile struct {
	t       *testing.T
	rng     *rand.Rand
	keys    []ssh.Signer
	holders map[string][]int // the keys that serve each user
	lists   map[string][][]string
	client  *Client

	said   []evidence       // on this connection
	used   map[string]int64 // the last step of a code that served, by user
	hashes int              // passwords that may still be computed
	in     map[string]int   // how often who was let in, and in how many steps
}

var hostileUsers = []string{"alice", "bob", "carol"}

// TestWhoeverIsLetInProvedWhatIsDemandedOfThatName tries random steps under random names. Whoever gets in must, in the judgement of a
// second, slow implementation, have proved everything that one list of AuthenticationMethods demands, for that one name.
func TestWhoeverIsLetInProvedWhatIsDemandedOfThatName(t *testing.T) {
	text, err := accountFile()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) { // so that nobody waits for the times that hide what is known of a name
		b := newBastion(t)
		if err := os.WriteFile(filepath.Join(b.dir, "passwords"), []byte(text+"carol:*:totp="+bobsSecret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		h := &hostile{
			t: t, rng: rand.New(rand.NewPCG(3, 2026)), hashes: 40, used: make(map[string]int64), in: make(map[string]int),
			holders: map[string][]int{"alice": {0, 1}, "bob": {1, 2}, "carol": {3}},
		}
		for range 5 {
			h.keys = append(h.keys, newKey(t))
		}
		for user, held := range h.holders {
			var lines []string
			for _, i := range held {
				lines = append(lines, line(h.keys[i]))
			}
			b.authorize(user, lines...)
		}
		b.cfg.Settings = func(s policy.Subject) Settings {
			settings := b.settings
			settings.AuthenticationMethods = h.lists[s.User]
			return settings
		}
		a, err := New(b.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			h.connect(a)
		}
		t.Logf("let in: %v", h.in)
		for _, who := range []string{"alice 1", "alice 2", "bob 1", "bob 2", "carol 1", "carol 2"} {
			if h.in[who] == 0 {
				t.Errorf("nobody was let in as %q (with its number of steps); there were %v", who, h.in)
			}
		}
	})
}

// connect makes one connection, with other AuthenticationMethods each time.
func (h *hostile) connect(a *Authenticator) {
	h.lists = make(map[string][][]string)
	for _, user := range hostileUsers {
		for range h.rng.IntN(3) {
			var list []string
			for range 1 + h.rng.IntN(3) {
				list = append(list, pick(h.rng, methodKey, methodKey, methodPassword, methodKbd, methodKbdCode, methodKbdWord))
			}
			h.lists[user] = append(h.lists[user], list)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.client = a.Client(ctx, netip.MustParseAddrPort("192.0.2.7:50000"), netip.AddrPort{}, func(Attempt) error { return nil })
	h.said = nil
	user := pick(h.rng, hostileUsers...)
	for range 8 {
		if h.rng.IntN(6) == 0 {
			user = pick(h.rng, hostileUsers...)
		}
		shown, perms, err := h.step(user)
		var partial *ssh.PartialSuccessError
		switch {
		case err == nil:
			h.judge(user, append(h.said, shown), perms)
			return
		case errors.As(err, &partial):
			h.said = append(h.said, shown)
		}
		h.client.decided(meta{user}, shown.method, err)
		if h.rng.IntN(8) == 0 {
			time.Sleep(codePeriod * time.Second)
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// step shows something, right or wrong, and what it was if it is right.
func (h *hostile) step(user string) (evidence, *ssh.Permissions, error) {
	shown := evidence{user: user}
	word := pick(h.rng, "alice", "bob", user, user, user)
	switch n := h.rng.IntN(10); {
	case n < 5 || h.hashes <= 0 && n < 7:
		shown.method = methodKey
		i := h.rng.IntN(len(h.keys))
		if held := h.holders[user]; h.rng.IntN(3) > 0 {
			i = held[h.rng.IntN(len(held))]
		}
		if slices.Contains(h.holders[user], i) {
			shown.key = fingerprint(h.keys[i])
		}
		if h.rng.IntN(2) == 0 {
			_, _ = h.client.publicKeyOffered(meta{pick(h.rng, hostileUsers...)}, h.keys[h.rng.IntN(len(h.keys))].PublicKey())
		}
		perms, err := h.client.publicKeyProven(meta{user}, h.keys[i].PublicKey(), nil, ssh.KeyAlgoED25519)
		return shown, perms, err
	case n < 7:
		shown.method, shown.password = methodPassword, word == user && user != "carol"
		h.hashes--
		perms, err := h.client.password(meta{user}, []byte(word))
		return shown, perms, err
	}
	shown.method = methodKbd
	now := time.Now().Unix() / codePeriod
	at := now + int64(h.rng.IntN(5)) - 2
	code, err := codeAt(bobsSecret, time.Unix(at*codePeriod, 0))
	if err != nil {
		h.t.Fatal(err)
	}
	right := user != "alice" && at >= now-codeSkew && at <= now+codeSkew && at > h.used[user]
	perms, err := h.client.keyboardInteractive(meta{user}, func(_, _ string, questions []string, _ []bool) (answers []string, err error) {
		for _, q := range questions {
			if q != askPassword {
				shown.code, answers = right, append(answers, code)
				continue
			}
			if h.hashes--; h.hashes < 0 {
				return nil, errors.New("enough")
			}
			shown.password, answers = word == user && user != "carol", append(answers, word)
		}
		return answers, nil
	})
	var partial *ssh.PartialSuccessError
	if (err == nil || errors.As(err, &partial)) && shown.code {
		h.used[user] = at
	}
	return shown, perms, err
}

// judge looks for a list that the evidence for this name fulfils.
func (h *hostile) judge(user string, said []evidence, perms *ssh.Permissions) {
	h.t.Helper()
	s, ok := perms.ExtraData[subjectKey{}].(policy.Subject)
	if !ok || s.User != user {
		h.t.Fatalf("%s: got subject %+v", user, s)
	}
	said = slices.DeleteFunc(slices.Clone(said), func(e evidence) bool { return e.user != user })
	lists := h.lists[user]
	if len(lists) == 0 {
		lists = [][]string{{methodKey}, {methodPassword}, {methodKbd}}
	}
	for _, list := range lists {
		if fulfils(list, said, user != "alice") {
			h.in[fmt.Sprint(user, " ", len(list))]++
			return
		}
	}
	h.t.Fatalf("%s was let in by %+v, which no list of %q permits", user, said, lists)
}

// fulfils tries every way to take the methods of a list, in their order, from what was said. hasCode says
// that the account's passwords don't serve without a code.
func fulfils(list []string, said []evidence, hasCode bool) bool {
	var try func(list []string, said, taken []evidence) bool
	try = func(list []string, said, taken []evidence) bool {
		if len(list) == 0 {
			password := slices.ContainsFunc(taken, func(e evidence) bool { return e.password })
			code := slices.ContainsFunc(taken, func(e evidence) bool { return e.code })
			return !password || !hasCode || code
		}
		for i, e := range said {
			again := slices.ContainsFunc(taken, func(t evidence) bool { return t.key != "" && t.key == e.key })
			if shows(e, list[0], hasCode) && !again && try(list[1:], said[i+1:], append(slices.Clone(taken), e)) {
				return true
			}
		}
		return false
	}
	return try(list, said, nil)
}

func shows(e evidence, method string, hasCode bool) bool {
	name, way, _ := strings.Cut(method, ":")
	switch {
	case e.method != name:
		return false
	case name == methodKey:
		return e.key != ""
	case way == "totp":
		return e.code
	case name == methodKbd && way == "":
		return e.password && (e.code || !hasCode)
	}
	return e.password
}
