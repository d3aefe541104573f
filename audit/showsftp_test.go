package audit

import "testing"

func TestShowSaysThatAChangeOverSFTPIsAskedFor(t *testing.T) {
	_, got := describeSession(SFTPChanged{Request: "12-3", Command: "remove", Path: "/etc/passwd"})
	if want := `12-3 asks for remove "/etc/passwd"`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
