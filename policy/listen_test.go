package policy

import "testing"

func TestParseListenPattern(t *testing.T) {
	for word, want := range map[string]string{
		"8080":                   "*:8080",
		"*":                      "*:*",
		"*:8080":                 "*:8080",
		"localhost:8080":         "localhost:8080",
		"LocalHost:8080":         "localhost:8080",
		"127.0.0.1:*":            "127.0.0.1:*",
		"[127.0.0.1]:22":         "127.0.0.1:22",
		"[2001:DB8:0::1]:8080":   "[2001:db8::1]:8080",
		"[::ffff:10.1.2.3]:8080": "10.1.2.3:8080",
		"10.1.*:8080":            "10.1.*:8080",
		"[2001:db8:*]:8080":      "[2001:db8:*]:8080",
		"ftp/2121":               "ftp/*:2121",
		"ftp/*":                  "ftp/*:*",
		"ftp/[::1]:2121":         "ftp/[::1]:2121",
		"ftp/localhost:*":        "ftp/localhost:*",
	} {
		if p, err := ParseListenPattern(word); err != nil || p.String() != want {
			t.Errorf("%q: got %q, %v, want %q", word, p, err, want)
		}
	}
}

func TestParseListenPatternErrors(t *testing.T) {
	for word, want := range map[string]string{
		"":                `port "" is not a number`,
		"0":               `port "0" is out of range`,
		"localhost":       `port "localhost" is not a number`,
		"localhost:0":     `port "0" is out of range`,
		"localhost:70000": `port "70000" is out of range`,
		"localhost:1-2":   `port "1-2" is not a number`,
		":8080":           `"" is no pattern of an address to listen on`,
		"::1:8080":        `"::1:8080": an IPv6 address stands in brackets, [2001:db8::1]:22`,
		"[::1]":           `"[::1]" has no port: write [::1]:22, or [::1]:* for every port`,
		"ftp/[::1]":       `"ftp/[::1]" has no port: write ftp/[::1]:21, or ftp/[::1]:* for every port`,
		"[fe80::1%e]:22":  `address "fe80::1%e" has a zone`,
		"10.0.0.0/8:22":   `"10.0.0.0/8" is no pattern of an address to listen on`,
		"ftp/":            `port "" is not a number`,
		"ftp/ftp/21":      `"ftp/ftp/21": before the address and the port stands ftp/ or nothing`,
		"sftp/22":         `"sftp/22": before the address and the port stands ftp/ or nothing`,
		"FTP/2121":        `"FTP/2121": before the address and the port stands ftp/ or nothing`,
		"!localhost:22":   `"!localhost" is no pattern of an address to listen on`,
	} {
		if p, err := ParseListenPattern(word); err == nil || err.Error() != want {
			t.Errorf("%q: got %q, %v, want %s", word, p, err, want)
		}
	}
}

// FuzzParseListenPattern holds that what is read is written in a form that reads back to the same.
func FuzzParseListenPattern(f *testing.F) {
	for _, word := range []string{"8080", "*", "localhost:8080", "[::1]:*", "10.1.*:22", "[::ffff:10.1.2.3]:1", "[fe80::1%e]:1", "ftp/2121", "ftp/[::1]:*"} {
		f.Add(word)
	}
	f.Fuzz(func(t *testing.T, word string) {
		p, err := ParseListenPattern(word)
		if err != nil {
			if p != (ListenPattern{}) {
				t.Fatalf("%q: %v, and yet %+v", word, err, p)
			}
			return
		}
		if again, err := ParseListenPattern(p.String()); err != nil || again != p {
			t.Fatalf("%q is written as %q, which reads back to %q, %v", word, p, again, err)
		}
	})
}
