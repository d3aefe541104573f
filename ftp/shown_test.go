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
		{"CWD ftp://alice:hunter2@ftp.corp/d", "CWD ftp://****@ftp.corp/d", []string{"alice:hunter2"}},
		{"cwd FTP://alice:a/b@c@ftp.corp", "cwd FTP://****@ftp.corp", []string{"alice:a/b@c"}},
		{"CWD ftp://ftp.corp/d", "CWD ftp://ftp.corp/d", nil},
		{"CWD a@b", "CWD a@b", nil},
	} {
		if got, secrets := Shown(tt.line); got != tt.want || !slices.Equal(secrets, tt.secrets) {
			t.Errorf("%q: got %q, masked %q, want %q, %q", tt.line, got, secrets, tt.want, tt.secrets)
		}
	}
}

func TestRecordsHaveNoPasswords(t *testing.T) {
	for line, want := range map[string]string{
		"CWD ftp://alice:hunter2@ftp.corp/d":    "ftp://****@ftp.corp/d",
		"RETR ftp://alice:hunter2@ftp.corp/d/f": "ftp://****@ftp.corp/d/f",
		"SMNT ftp://alice:hunter2@ftp.corp":     "ftp://****@ftp.corp",
		"CWD /home/a@b":                         "/home/a@b",
		"CWD ftp://ftp.corp/\n":                 `ftp://ftp.corp/\n`,
	} {
		if got := parseCommand([]byte(line)).recorded().Path; got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
