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

// Seconds takes a plain number or sshd_config(5)'s time format with one unit, and at most a day.
func Seconds(to *time.Duration, least int, value string) error {
	const most = 24 * 60 * 60
	unit, digits := 1, value
	if i := len(value) - 1; i > 0 {
		switch value[i] {
		case 's', 'S':
			digits = value[:i]
		case 'm', 'M':
			unit, digits = 60, value[:i]
		case 'h', 'H':
			unit, digits = 60*60, value[:i]
		}
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > most/unit || n*unit < least {
		return fmt.Errorf("%q is not a time from %d to %d seconds", value, least, most)
	}
	*to = time.Duration(n*unit) * time.Second
	return nil
}

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
