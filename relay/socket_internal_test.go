package relay

import "testing"

func TestOursAreToldByTheirIdentification(t *testing.T) {
	for identification, want := range map[string]bool{
		"SSH-2.0-culvert": true, "SSH-2.0-culvert_1.2": true, "SSH-2.0-OpenSSH_9.2p1": false, "SSH-2.0-Go": false, "": false,
	} {
		if got := isOurs([]byte(identification)); got != want {
			t.Errorf("%q: got %v, want %v", identification, got, want)
		}
	}
}
