package config

import "testing"

func TestOffers(t *testing.T) {
	for _, tt := range []struct {
		text               string
		password, kbd, key bool
	}{
		{"", false, false, true},
		{"PasswordAuthentication yes\n", true, false, true},
		{"KbdInteractiveAuthentication yes\n", false, true, true},
		{"PasswordAuthentication yes\nAuthenticationMethods publickey,password\n", false, false, true},
		{"KbdInteractiveAuthentication yes\nAuthenticationMethods keyboard-interactive:totp,publickey\n", false, true, false},
		{"PasswordAuthentication yes\nAuthenticationMethods publickey,password\nMatch User alice\nAuthenticationMethods password\n", true, false, true},
		{"AuthenticationMethods publickey\nMatch User alice\nPasswordAuthentication yes\nMatch User bob\nAuthenticationMethods any\n", true, false, true},
	} {
		c := mustParse(t, "HostKey /key\nPasswordFile /users\n"+tt.text)
		for method, want := range map[string]bool{"publickey": tt.key, "password": tt.password, "keyboard-interactive": tt.kbd} {
			if got := c.Offers(method); got != want {
				t.Errorf("%q: %s is offered: got %t, want %t", tt.text, method, got, want)
			}
		}
	}
}
