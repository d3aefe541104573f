package auth

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rfcSecret is that of RFC 6238, appendix B.
const rfcSecret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"

// testCodes returns codes at a time that the test moves.
func testCodes(seconds int64) (c *codes, clock *time.Time) {
	now := time.Unix(seconds, 0)
	return newCodes(func() time.Time { return now }), &now
}

func TestCodesAreThoseOfTheRFC(t *testing.T) {
	for seconds, code := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		c, _ := testCodes(seconds)
		if err := c.check(Account{Name: "alice", secret: rfcSecret}, code); err != nil {
			t.Errorf("at %d: got %v for %s", seconds, err, code)
		}
	}
}

func TestCodeServesAStepBeforeAndAfterAndNoFurther(t *testing.T) {
	const at = 1111111111 // its step began at …110
	for offset, want := range map[int64]bool{-61: false, -31: true, -1: true, 0: true, 29: true, 49: true, 59: false, 90: false} {
		c, _ := testCodes(at + offset)
		err := c.check(Account{Name: "alice", secret: rfcSecret}, "050471")
		if got := err == nil; got != want || err != nil && !errors.Is(err, errWrongCode) {
			t.Errorf("%d s off: got %v, want served %t", offset, err, want)
		}
	}
}

func TestCodeServesOnceAndNoEarlierOneAfterIt(t *testing.T) {
	c, clock := testCodes(2000000000)
	alice, bob := Account{Name: "alice", secret: rfcSecret}, Account{Name: "bob", secret: rfcSecret}
	code := func(skew int) string {
		t.Helper()
		code, err := codeAt(rfcSecret, clock.Add(time.Duration(skew)*codePeriod*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	for i, tt := range []struct {
		account Account
		code    string
		want    error
	}{
		{alice, code(0), nil},
		{alice, code(0), errUsedCode},
		{alice, code(-1), errUsedCode},
		{bob, code(0), nil}, // with the same secret, it is still another user's
		{alice, code(1), nil},
		{alice, code(0), errUsedCode},
		{alice, code(2), errWrongCode},
	} {
		if err := c.check(tt.account, tt.code); !errors.Is(err, tt.want) || (tt.want == nil && err != nil) {
			t.Errorf("%d: got %v, want %v", i, err, tt.want)
		}
	}
	*clock = clock.Add(2 * codePeriod * time.Second)
	if err := c.check(alice, code(0)); err != nil {
		t.Errorf("a minute later: got %v", err)
	}
}

func TestCodeThatManyTryAtOnceServesOnce(t *testing.T) {
	c, _ := testCodes(59)
	var served atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if c.check(Account{Name: "alice", secret: rfcSecret}, "287082") == nil {
				served.Add(1)
			}
		})
	}
	wg.Wait()
	if n := served.Load(); n != 1 {
		t.Errorf("served %d times, want once", n)
	}
}

func TestNoCodeServesWhoHasNone(t *testing.T) {
	c, clock := testCodes(59)
	public, err := codeAt(noSecret, *clock)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		account Account
		code    string
	}{
		"the code of no secret": {Account{Name: "alice", Known: true}, public},
		"nobody":                {Account{}, public},
		"locked":                {Account{Name: "alice", secret: rfcSecret, Locked: true}, "287082"},
		"locked, no secret":     {Account{Name: "alice", secret: rfcSecret, Locked: true}, public},
		"empty":                 {Account{Name: "alice", secret: rfcSecret}, ""},
		"too long":              {Account{Name: "alice", secret: rfcSecret}, strings.Repeat("287082", 100)},
		"part":                  {Account{Name: "alice", secret: rfcSecret}, "28708"},
		"other digits":          {Account{Name: "alice", secret: rfcSecret}, "２８７０８２"},
	} {
		if err := c.check(tt.account, tt.code); !errors.Is(err, errWrongCode) {
			t.Errorf("%s: got %v, want %v", name, err, errWrongCode)
		}
	}
	if err := c.check(Account{Name: "alice", secret: rfcSecret}, "287 082"); err != nil {
		t.Errorf("with a blank: got %v", err)
	}
}

func TestUsedCodesAreForgottenWhenTheyAreOld(t *testing.T) {
	now := time.Unix(2000000000, 0)
	u := &usedCodes{now: func() time.Time { return now }}
	step := now.Unix() / codePeriod
	for i := range maxUsed {
		if ok, err := u.use(fmt.Sprint("user", i), step); !ok || err != nil {
			t.Fatalf("user %d: got %t, %v", i, ok, err)
		}
	}
	if ok, err := u.use("one too many", step); ok || err == nil {
		t.Errorf("one too many: got %t, %v, want an error", ok, err)
	}
	if ok, err := u.use("user0", step); ok || err != nil {
		t.Errorf("again: got %t, %v, want it refused", ok, err)
	}
	now = now.Add(2 * codePeriod * time.Second)
	if ok, err := u.use("one too many", step+2); !ok || err != nil || len(u.last) != 1 {
		t.Errorf("later: got %t, %v, %d users, want it to serve and the others to be forgotten", ok, err, len(u.last))
	}
}

func TestStoreThatFailsLetsNobodyIn(t *testing.T) {
	c, _ := testCodes(59)
	broken := errors.New("no answer")
	c.use = func(string, int64) (bool, error) { return true, broken }
	if err := c.check(Account{Name: "alice", secret: rfcSecret}, "287082"); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestNewSecret(t *testing.T) {
	s, err := NewSecret("bastion.example", "alice+ftp@corp")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/bastion.example:alice+ftp@corp" ||
		u.Query().Get("secret") != s.Text || u.Query().Get("issuer") != "bastion.example" {
		t.Errorf("got %s", s.URL)
	}
	if err := validSecret(s.Text); err != nil {
		t.Error(err)
	}
	now := time.Unix(2000000000, 0)
	code, err := codeAt(s.Text, now)
	if err != nil || !s.Matches(code, now) || s.Matches(code, now.Add(time.Hour)) {
		t.Errorf("code %q, %v: want it to match now, and not in an hour", code, err)
	}
	if again, err := NewSecret("bastion.example", "alice"); err != nil || again.Text == s.Text {
		t.Errorf("again: got %v, the same secret: %t", err, again.Text == s.Text)
	}
	if _, err := NewSecret("bastion.example", "a:b"); err == nil {
		t.Error("user a:b: got no error")
	}
}
