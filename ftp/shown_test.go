package ftp

import (
	"slices"
	"testing"
)

func TestShown(t *testing.T) {
	for _, tt := range []struct {
		line, want string
		secrets    []string
	}{
		{"RETR a b", "RETR a b", nil},
		{"user alice", "user alice", nil},
		{"pass hunter2 ", "pass ****", []string{"hunter2 "}},
		{"ACCT x", "ACCT ****", []string{"x"}},
		{"ADAT abc", "ADAT ****", []string{"abc"}},
		{"hunter2", "****", []string{"hunter2"}},
		{"PASShunter2 x", "****", []string{"PASShunter2", "x"}},
		{" PASS x", "****", []string{"PASS", "x"}},
		{"", "****", nil},
		{"SITE pswd old new", "SITE pswd ****", []string{"old", "new"}},
		{"SITE CHMOD 600 x", "SITE CHMOD 600 x", nil},
		{"SITE HELP", "SITE HELP", nil},
	} {
		if got, secrets := Shown(tt.line); got != tt.want || !slices.Equal(secrets, tt.secrets) {
			t.Errorf("%q: got %q, masked %q, want %q, %q", tt.line, got, secrets, tt.want, tt.secrets)
		}
	}
}
