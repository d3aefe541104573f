package config

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// FuzzFile holds that what a file comes to, for anybody, reads back to the same, and that the policy says what the settings say.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		example(), randomLines(rand.New(rand.NewPCG(3, 4))), randomLines(rand.New(rand.NewPCG(5, 6))),
		"Match User a Address 10.0.0.0/8\nMaxSessions 1\nBanner \"/a b\"\n",
		"Ciphers +aes128-cbc\nVersionAddendum = =x\nRekeyLimit 1G 1h\n",
		"PerSourcePenalties authfail:1m\nPerSourcePenalties no\nChannelTimeout *=1\n",
		"AcceptEnv 'a b'\nMatch all\nAcceptEnv c\nDenyUsers a@10.0.0.0/8\n",
	} {
		f.Add(seed, "a")
	}
	f.Fuzz(func(t *testing.T, text, user string) {
		if strings.Contains(strings.ToLower(text), "include") {
			return // the files of this machine are none of the fuzzer's business
		}
		text = "HostKey /key\nPasswordFile /users\n" + text
		r, err := newReader()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.all("f", text, nil); err != nil {
			return
		}
		c := r.config
		who := policy.Subject{User: user, Groups: []string{user}, Addr: netip.MustParseAddr("10.1.2.3"), LocalAddr: netip.MustParseAddrPort("10.0.0.1:22")}
		now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		for _, s := range []Settings{c.Global(), c.For(who, now)} {
			back, _, err := parse("dump", dump(t, s), nil)
			if err != nil {
				if onlyTogether(err) {
					return
				}
				t.Fatalf("the dump of %q doesn't read back: %v", text, err)
			}
			if diff := cmp.Diff(s, back.Global(), compareWords, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("the dump of %q reads back as something else:\n%s", text, diff)
			}
		}
		samePolicy(t, c, who, now)
	})
}

// onlyTogether reports whether the error is about lines of several scopes that are not wrong each by itself.
func onlyTogether(err error) bool {
	return strings.Contains(err.Error(), "nobody gets in") || strings.Contains(err.Error(), "CommandUser, an account")
}

// samePolicy holds that the policy denies and permits the words that the settings have.
func samePolicy(t *testing.T, c *Config, who policy.Subject, now time.Time) {
	t.Helper()
	if who.User == "" {
		return
	}
	s := c.For(who, now)
	permitted := c.Policy().Permitted(who, now)
	want := wordsOf(s.PermitOpen, form[policy.OpenPattern]{show: policy.OpenPattern.String})
	if s.DisableForwarding || s.AllowTCPForwarding != policy.ForwardAll && s.AllowTCPForwarding != policy.ForwardLocal {
		want = nil
	}
	slices.Sort(want)
	slices.Sort(permitted)
	if want := slices.Compact(want); !slices.Equal(want, permitted) {
		t.Fatalf("the settings permit %q, the policy %q", want, permitted)
	}
}

// FuzzLine holds that the words of a line, quoted, are the same words.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{`Banner "/a b"`, `a=b\ c 'd"' # e`, "x = \"\\\\\" '\\''", "K\t==", "\f", `"`, "é \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keyword, rest, err := cutLine(text)
		if err != nil || keyword == "" {
			return
		}
		words, err := sshconfig.Words(rest)
		if err != nil {
			return
		}
		quoted := make([]string, len(words))
		for i, word := range words {
			quoted[i] = sshconfig.Quote(word)
		}
		line := "Keyword " + strings.Join(quoted, " ")
		name, rest, err := cutLine(line)
		if err != nil || name != "Keyword" {
			t.Fatalf("%q: got the keyword %q, %v", line, name, err)
		}
		if again, err := sshconfig.Words(rest); err != nil || !slices.Equal(again, words) {
			t.Fatalf("%q has the words %q; written %q they are %q, %v", text, words, line, again, err)
		}
	})
}

// FuzzMatch holds that criteria are what their text says, and that what is said never to match doesn't.
func FuzzMatch(f *testing.F) {
	for _, seed := range []string{
		"user a,!b address 10.0.0.0/8", "User=a invalid-user", "group x localport 22", "host *.corp time Mon-Fri,08:00-19:00", "all", "user a user b", "user !a", "user a,!a",
	} {
		f.Add(seed, "a", "x", uint16(22))
	}
	f.Fuzz(func(t *testing.T, text, user, group string, port uint16) {
		words, err := sshconfig.Words(text)
		if err != nil {
			return
		}
		criteria, said, err := parseMatch(words)
		if err != nil {
			return
		}
		var again []string
		for _, c := range said {
			again = append(again, c.name)
			if c.value != "" {
				again = append(again, c.value)
			}
		}
		if said == nil {
			again = []string{"all"}
		}
		same, _, err := parseMatch(again)
		if err != nil {
			t.Fatalf("%q is %q, which doesn't read: %v", text, again, err)
		}
		who := policy.Subject{
			User: user, Groups: []string{group}, Addr: netip.MustParseAddr("10.1.2.3"), Host: group + ".corp",
			LocalAddr: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port),
		}
		if group == "" {
			who.Groups, who.Invalid = nil, true
		}
		now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
		matches := criteria.Match(who, now)
		if matches != same.Match(who, now) {
			t.Fatalf("%q and %q are not the same for %+v", text, again, who)
		}
		if why := never(said); why != "" && matches {
			t.Fatalf("%q matches %+v, and is said never to: %s", text, who, why)
		}
	})
}

// FuzzTime holds that a time is within what sshd can hold, and reads back from seconds.
func FuzzTime(f *testing.F) {
	for _, seed := range []string{"0", "1h30m", "1w2d3h4m5s", "2147483647", "1M30", "99999999999w", "-1", "1.5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseTime(text)
		if err != nil {
			return
		}
		if d < 0 || d > maxTime || d%time.Second != 0 {
			t.Fatalf("%q is %v", text, d)
		}
		any := timeBetween(0, maxTime)
		if again, err := any.parse(any.show(d)); err != nil || again != d {
			t.Fatalf("%q is %v, and shown as %q it is %v, %v", text, d, any.show(d), again, err)
		}
	})
}

// FuzzAlgorithms holds that a list is never empty, has nothing twice and nothing that isn't served, and reads back.
func FuzzAlgorithms(f *testing.F) {
	for _, seed := range []string{"aes128-ctr", "+aes128-cbc,aes256-cbc", "-*", "^ssh-ed25519", "ssh-*,!ssh-rsa", "-aes*,!aes128-ctr", ",", "+"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		for _, kind := range listKinds {
			names, err := kind.own.Parse(list)
			if err != nil {
				continue
			}
			kind.own.Remarks(list)
			if len(names) == 0 {
				t.Fatalf("%s %q is empty", kind.keyword, list)
			}
			for i, name := range names {
				if slices.Contains(names[:i], name) || slices.Contains(kind.own.Lacking, name) || !slices.Contains(kind.own.All(), name) {
					t.Fatalf("%s %q has %q", kind.keyword, list, names)
				}
			}
			if again, err := kind.own.Parse(strings.Join(names, ",")); err != nil || !slices.Equal(again, names) {
				t.Fatalf("%s %q is %q, which reads as %q, %v", kind.keyword, list, names, again, err)
			}
		}
	})
}
