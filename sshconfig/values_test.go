package sshconfig

import (
	"testing"
	"time"
)

func TestTimesAreThoseOfSSH(t *testing.T) {
	for _, test := range []struct {
		text string
		want time.Duration // -1 for an error
	}{
		{"0", 0},
		{"90", 90 * time.Second},
		{"90S", 90 * time.Second},
		{"1h30m", 90 * time.Minute},
		{"1m30", 90 * time.Second},
		{"1w2D", 9 * 24 * time.Hour},
		{"30d", 30 * 24 * time.Hour},
		{"30d1", -1},
		{"31d", -1},
		{"99999999999999999999", -1},
		{"9999999h", -1},
		{"", -1},
		{"h", -1},
		{"-1", -1},
		{"1x", -1},
		{"1 h", -1},
		{"1.5", -1},
	} {
		got := time.Duration(-1)
		if err := Seconds(&got, 0, test.text); got != test.want || (err != nil) != (test.want < 0) {
			t.Errorf("%q: got %v, %v; want %v", test.text, got, err, test.want)
		}
	}
}
