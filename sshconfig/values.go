package sshconfig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// YesNo takes yes or no.
func YesNo(to *bool, value string) error {
	switch strings.ToLower(value) {
	case "yes", "true":
		*to = true
	case "no", "false":
		*to = false
	default:
		return fmt.Errorf("%q is neither yes nor no", value)
	}
	return nil
}

// Count takes a number from least to most.
func Count(to *int, least, most int, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return fmt.Errorf("%q is not a number from %d to %d", value, least, most)
	}
	*to = n
	return nil
}

// Seconds takes sshd_config(5)'s time format, such as 90, 1h30m or 2d, up to 30 days.
func Seconds(to *time.Duration, least int, value string) error {
	const most = 30 * 24 * 60 * 60
	wrong := fmt.Errorf("%q is not a time from %d to %d seconds, such as 90 or 1h30m", value, least, most)
	total, rest := 0, value
	for done := false; !done; {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		unit, ok := 1, digits == len(rest)
		if !ok {
			unit, ok = units[rest[digits]|0x20]
			digits++
		}
		if err != nil || !ok || n > (most-total)/unit {
			return wrong
		}
		total += n * unit
		rest = rest[digits:]
		done = rest == ""
	}
	if total < least {
		return wrong
	}
	*to = time.Duration(total) * time.Second
	return nil
}

// units are the letters of the time format in lower case, in seconds.
var units = map[byte]int{'s': 1, 'm': 60, 'h': 60 * 60, 'd': 24 * 60 * 60, 'w': 7 * 24 * 60 * 60}

// Port takes a port number other than 0.
func Port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// CheckHost refuses what can be neither a name nor an address.
func CheckHost(s string) error {
	if s == "" {
		return errors.New("the host name is missing")
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`"'\/@`+"`$;&|<>(){}*?,", r) {
			return fmt.Errorf("%q is not a host name", s)
		}
	}
	if len(s) > 255 || s[0] == '-' {
		return fmt.Errorf("%q is not a host name", s)
	}
	return nil
}

// CheckUser refuses what no user name is.
func CheckUser(s string) error {
	if s == "" {
		return errors.New("the user name is empty")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("%q is not a user name", s)
		}
	}
	if len(s) > 255 {
		return errors.New("the user name is longer than 255 bytes")
	}
	return nil
}
