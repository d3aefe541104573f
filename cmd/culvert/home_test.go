package main

import (
	"os"
	"os/user"
	"testing"
)

// TestHomeIsKnownWithoutTheEnvironment is what runs under cron or a service manager that set no HOME.
func TestHomeIsKnownWithoutTheEnvironment(t *testing.T) {
	t.Setenv("HOME", "/somewhere")
	if got := homeFolder(); got != "/somewhere" {
		t.Errorf("got %q, want HOME", got)
	}
	if err := os.Unsetenv("HOME"); err != nil {
		t.Fatal(err)
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got := homeFolder(); got != u.HomeDir {
		t.Errorf("without HOME: got %q, want the system's %q", got, u.HomeDir)
	}
}
