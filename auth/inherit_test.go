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
	after.InheritUsedCodes(before.LeaveCodes())
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
	if got := after.LeaveCodes(); len(got) > 0 {
		t.Errorf("kept in mind: got %v, want nothing as old", got)
	}
}

func TestACodeServesWithOneOfTwoProcesses(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	before := &Authenticator{codes: newCodes(func() time.Time { return now })}
	alice := Account{Name: "alice", secret: testSecret}
	code := func() string {
		t.Helper()
		code, err := codeAt(testSecret, now)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	before.LeaveCodes()
	if err := before.codes.check(alice, code()); !errors.Is(err, errCodesGone) {
		t.Errorf("with the process before: got %v, want %v", err, errCodesGone)
	}
	// The other one fails, and may have taken any code that there was until then.
	before.TakeCodesBack()
	for range 1 + codeSkew {
		if err := before.codes.check(alice, code()); !errors.Is(err, errUsedCode) {
			t.Errorf("taken back: got %v, want %v", err, errUsedCode)
		}
		now = now.Add(codePeriod * time.Second)
	}
	if err := before.codes.check(alice, code()); err != nil {
		t.Errorf("the first code that the other can't have taken: %v", err)
	}
}
