package config

import "testing"

func TestOffers(t *testing.T) {
	for _, tt := range []struct {
		text          string
		password, kbd bool
	}{
		{"", false, false},
		{"PasswordAuthentication yes\n", true, false},
		{"KbdInteractiveAuthentication yes\n", false, true},
		{"PasswordAuthentication yes\nAuthenticationMethods publickey,password\n", false, false},
		{"KbdInteractiveAuthentication yes\nAuthenticationMethods keyboard-interactive:totp,publickey\n", false, true},
		{"PasswordAuthentication yes\nAuthenticationMethods publickey,password\nMatch User alice\nAuthenticationMethods password\n", true, false},
		{"AuthenticationMethods publickey\nMatch User alice\nPasswordAuthentication yes\nMatch User bob\nAuthenticationMethods any\n", true, false},
	} {
		c := mustParse(t, "HostKey /key\nPasswordFile /users\n"+tt.text)
		if password, kbd := c.Offers("password"), c.Offers("keyboard-interactive"); password != tt.password || kbd != tt.kbd {
			t.Errorf("%q: got password %t, keyboard-interactive %t, want %t, %t", tt.text, password, kbd, tt.password, tt.kbd)
		}
	}
}
