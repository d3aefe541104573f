package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// How one-time codes are made (RFC 6238). These are what every authenticator program understands.
const (
	codeDigits = otp.DigitsSix
	codePeriod = 30 // seconds; a step

	// codeSkew is how many steps a clock may be off, either way.
	codeSkew = 1
)

// noSecret makes a code to compare with where there is no secret. It is not secret: what it matches doesn't serve.
const noSecret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// Why a one-time code doesn't serve.
var (
	errWrongCode = errors.New("wrong one-time code")
	errUsedCode  = errors.New("the one-time code, or a later one, was used already")
	errCodesGone = errors.New("another process takes one-time codes now: log in anew")
)

// codes checks one-time codes.
type codes struct {
	now  func() time.Time
	used *usedCodes

	// use reports whether no code of this step, or of a later one, was used by the user, and keeps in mind that now one is. Where
	// several bastions serve the same users, they share it.
	use func(user string, step int64) (bool, error)
}

func newCodes(now func() time.Time) *codes {
	used := &usedCodes{now: now}
	return &codes{now: now, used: used, use: used.use}
}

// check returns nil if code is one of the account's, and none as late has served before. The same work is done
// for an account that has no codes.
func (c *codes) check(a Account, code string) error {
	secret := a.codeSecret()
	known := subtle.ConstantTimeEq(int32(min(len(secret), 1)), 1)
	if known == 0 {
		secret = noSecret
	}
	now := c.now()
	code = strings.ReplaceAll(code, " ", "") // programs show 123 456
	matches, at := 0, 0
	for skew := -codeSkew; skew <= codeSkew; skew++ {
		want, err := codeAt(secret, now.Add(time.Duration(skew)*codePeriod*time.Second))
		if err != nil {
			return fmt.Errorf("make one-time code: %w", err)
		}
		hit := subtle.ConstantTimeCompare([]byte(want), []byte(code))
		at = subtle.ConstantTimeSelect(hit, skew+codeSkew, at)
		matches |= hit
	}
	if matches&known == 0 {
		return errWrongCode
	}
	fresh, err := c.use(a.Name, now.Unix()/codePeriod+int64(at)-codeSkew)
	if err == nil && !fresh {
		err = errUsedCode
	}
	return err
}

func codeAt(secret string, at time.Time) (string, error) {
	return totp.GenerateCodeCustom(secret, at, totp.ValidateOpts{Period: codePeriod, Digits: codeDigits, Algorithm: otp.AlgorithmSHA1})
}

// maxUsed bounds the users whose last code is kept in mind. Only who knew a code gets there, and it is
// forgotten after a minute or two.
const maxUsed = 16 << 10

// usedCodes keeps the steps of used codes in memory. The zero value but for its clock is ready.
type usedCodes struct {
	now  func() time.Time
	mu   sync.Mutex
	last map[string]int64 // by user
	gone bool             // another process keeps them
	from int64            // the first step that may serve; for who used one before nobody knows
}

func (u *usedCodes) use(user string, step int64) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, used := u.last[user]
	switch {
	case u.gone:
		return false, errCodesGone
	case step < u.from, used && step <= last:
		return false, nil
	case !used && len(u.last) >= maxUsed:
		u.forget()
		if len(u.last) >= maxUsed {
			return false, errors.New("too many users have used one-time codes within the last minutes")
		}
	case u.last == nil:
		u.last = make(map[string]int64)
	}
	u.last[user] = step
	return true, nil
}

// forget drops the steps of which no code serves any more.
func (u *usedCodes) forget() {
	oldest := u.now().Unix()/codePeriod - codeSkew
	for user, step := range u.last {
		if step < oldest {
			delete(u.last, user)
		}
	}
}

// LeaveCodes returns which one-time codes serve nobody any more, for another process that takes over: by user, the number of the
// last one. From then on none serves here, or one could serve once with each process; who is about to say one must log in anew.
func (a *Authenticator) LeaveCodes() map[string]int64 {
	u := a.codes.used
	u.mu.Lock()
	defer u.mu.Unlock()
	u.forget()
	u.gone = true
	return maps.Clone(u.last)
}

// TakeCodesBack lets one-time codes serve here again, after the other process has ended without a word about those that it
// took: none serves that there was until now.
func (a *Authenticator) TakeCodesBack() {
	u := a.codes.used
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone, u.from = false, u.now().Unix()/codePeriod+codeSkew+1
}

// InheritUsedCodes keeps in mind what the process before has, as LeaveCodes returned it.
func (a *Authenticator) InheritUsedCodes(used map[string]int64) {
	u := a.codes.used
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[string]int64)
	}
	for user, step := range used {
		u.last[user] = max(step, u.last[user])
	}
}

// Secret is a new secret of one-time codes, not written anywhere yet.
type Secret struct {
	Text string // in base32, as a person types it
	URL  string // otpauth://…, as authenticator programs read it in a QR code
}

// NewSecret makes a secret. The host and the user are shown in the authenticator program.
func NewSecret(host, user string) (Secret, error) {
	if err := ValidUser(user); err != nil {
		return Secret{}, err
	}
	raw := make([]byte, newSecret)
	_, _ = rand.Read(raw) // it never fails
	text := base32Text.EncodeToString(raw)
	label := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + host + ":" + user}
	query := url.Values{"secret": {text}, "issuer": {host}}
	return Secret{Text: text, URL: label.String() + "?" + strings.ReplaceAll(query.Encode(), "+", "%20")}, nil
}

// Matches reports whether code is one of the secret's, now. It is for whoever has just been shown the secret.
func (s Secret) Matches(code string, now time.Time) bool {
	c := newCodes(func() time.Time { return now })
	return c.check(Account{secret: s.Text}, code) == nil
}
