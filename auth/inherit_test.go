package auth

import (
	"errors"
	"testing"
	"time"
)

func TestACodeThatWasUsedServesNoProcessThatTakesOver(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	before, after := &Authenticator{codes: newCodes(clock)}, &Authenticator{codes: newCodes(clock)}
	alice := Account{Name: "alice", secret: testSecret}
	code, err := codeAt(testSecret, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.codes.check(alice, code); err != nil {
		t.Fatal(err)
	}
	after.InheritUsedCodes(before.UsedCodes())
	if err := after.codes.check(alice, code); !errors.Is(err, errUsedCode) {
		t.Errorf("the used code: got %v, want %v", err, errUsedCode)
	}
	now = now.Add(2 * codePeriod * time.Second)
	if code, err = codeAt(testSecret, now); err != nil {
		t.Fatal(err)
	}
	if err := after.codes.check(alice, code); err != nil {
		t.Errorf("the next code: %v", err)
	}
	now = now.Add(time.Hour)
	if got := after.UsedCodes(); len(got) > 0 {
		t.Errorf("kept in mind: got %v, want nothing as old", got)
	}
}
