package sshconfig

import "testing"

func TestSlipsAreUnderstood(t *testing.T) {
	known := []string{"BatchMode", "BindAddress", "ProxyJump", "up", "status", "corp"}
	for typed, want := range map[string]string{
		"BacthMode":   "did you mean BatchMode?",
		"batchmod":    "did you mean BatchMode?",
		"BatchMoode":  "did you mean BatchMode?",
		"BindAdress":  "did you mean BindAddress?",
		"proxyjmup":   "did you mean ProxyJump?",
		"upp":         "did you mean up?",
		"stat":        "no such word",
		"statsu":      "did you mean status?",
		"crop":        "did you mean corp?",
		"x":           "no such word",
		"":            "no such word",
		"Compression": "no such word",
		"payroll":     "no such word",
	} {
		if got := Meant(typed, known, "no such word"); got != want {
			t.Errorf("Meant(%q): got %q, want %q", typed, got, want)
		}
	}
}
