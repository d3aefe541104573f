package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/culvert-ssh/culvert/auth"
)

func TestSecretIsConfirmedByACodeOfIt(t *testing.T) {
	secret, err := auth.NewSecret("bastion", "alice")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(2000000000, 0)
	good, err := totp.GenerateCode(secret.Text, at)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		typed string
		want  bool
	}{
		"at once":           {good, true},
		"with blanks":       {" " + good[:3] + " " + good[3:] + " ", true},
		"the third time":    {"x\n\n" + good, true},
		"the fourth time":   {"x\nx\nx\n" + good, false},
		"the end of a file": {"", false},
	} {
		r := strings.NewReader(tt.typed + "\n")
		if tt.typed == "" {
			r = strings.NewReader("")
		}
		err := confirm(secret, func() (string, error) { return readLine(r) }, func() time.Time { return at })
		if got := err == nil; got != tt.want || tt.typed == "" && !errors.Is(err, io.EOF) {
			t.Errorf("%s: got %v, want confirmed %t", name, err, tt.want)
		}
	}
}
