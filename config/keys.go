package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/algorithms"
)

var keyKeywords = []keyword{
	{
		name: "HostKey", aliases: []string{"HostDSAKey"}, where: outsideMatch, repeats: accumulates,
		wants: "the path of a private key",
		value: each(func(s *Settings) *[]string { return &s.HostKeys }, file),
	},
	{
		name: "HostCertificate", where: outsideMatch, repeats: accumulates,
		wants: "the path of a host certificate",
		value: each(func(s *Settings) *[]string { return &s.HostCertificates }, file),
	},
	{
		name: "HostKeyAgent", where: outsideMatch,
		wants:    "the path of an agent's socket, SSH_AUTH_SOCK or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *string { return &s.HostKeyAgent }, or("none", agentSocket)),
	},
	algorithmKeyword("Ciphers", outsideMatch, &algorithms.Ciphers, func(s *Settings) *[]string { return &s.Ciphers }),
	algorithmKeyword("MACs", outsideMatch, &algorithms.MACs, func(s *Settings) *[]string { return &s.MACs }),
	algorithmKeyword("KexAlgorithms", outsideMatch, &algorithms.KeyExchanges, func(s *Settings) *[]string { return &s.KexAlgorithms }),
	algorithmKeyword("HostKeyAlgorithms", outsideMatch, &algorithms.HostKeys, func(s *Settings) *[]string { return &s.HostKeyAlgorithms }),
	algorithmKeyword("PubkeyAcceptedAlgorithms", anywhere, &algorithms.UserKeys, func(s *Settings) *[]string { return &s.PubkeyAcceptedAlgorithms }).alias("PubkeyAcceptedKeyTypes"),
	algorithmKeyword("CASignatureAlgorithms", anywhere, &algorithms.Authorities, func(s *Settings) *[]string { return &s.CASignatureAlgorithms }),
	{
		name: "RekeyLimit", where: notYetMatch, repeats: accumulates, // the data and the time each count once
		wants:    "default or an amount of data such as 512M, and perhaps none or a time",
		standard: []string{"default none"},
		value:    value{parseRekeyLimit, showRekeyLimit},
		remarks: func(words []string) []string {
			if len(words) > 1 && words[1] != "none" && words[1] != "0" {
				return []string{"the time is not kept: keys change after an amount of data only"}
			}
			return nil
		},
	},
	{
		name:     "RequiredRSASize",
		wants:    "a number of bits from 1024 to 16384",
		standard: []string{"2048"}, // NIST SP 800-131A; sshd has 1024
		value:    one(func(s *Settings) *int { return &s.RequiredRSASize }, numberBetween(1024, 16384)),
	},
}

// alias adds a name that OpenSSH had for it.
func (k keyword) alias(name string) keyword {
	k.aliases = append(k.aliases, name)
	return k
}

// agentVariable stands for the socket that the environment names.
const agentVariable = "SSH_AUTH_SOCK"

var agentSocket = form[string]{
	parse: func(word string) (string, error) {
		if word == agentVariable {
			return word, nil
		}
		return parsePath(word)
	},
	show: file.show,
}

// minRekey is the least amount of data after which keys may change, in bytes, as sshd has it.
const minRekey = 16

func parseRekeyLimit(words []string) (setter, error) {
	var limit uint64
	if words[0] != "default" {
		var err error
		if limit, err = parseAmount(words[0]); err != nil {
			return nil, err
		}
		if limit != 0 && limit < minRekey {
			return nil, fmt.Errorf("%q is less than %d bytes", words[0], minRekey)
		}
	}
	var (
		after   time.Duration
		hasTime bool
	)
	switch {
	case len(words) > 2:
		return nil, fmt.Errorf("%q is one value too many", words[2])
	case len(words) == 2 && words[1] != "none":
		var err error
		if after, err = parseTime(words[1]); err != nil {
			return nil, err
		}
		hasTime = true
	}
	return func(s *Settings) {
		if !s.saidRekeyBytes {
			s.RekeyBytes, s.saidRekeyBytes = limit, true
		}
		if hasTime && !s.saidRekeyTime {
			s.RekeyTime, s.saidRekeyTime = after, true
		}
	}, nil
}

func showRekeyLimit(s *Settings) [][]string {
	return [][]string{{strconv.FormatUint(s.RekeyBytes, 10), strconv.FormatInt(int64(s.RekeyTime/time.Second), 10)}}
}

// parseAmount reads a number of bytes as sshd does, with K, M, G, T, P or E behind it, perhaps.
func parseAmount(word string) (uint64, error) {
	digits := strings.TrimRight(word, "kmgtpeKMGTPEbB")
	shift := 0
	switch suffix := strings.ToUpper(word[len(digits):]); suffix {
	case "", "B":
	default:
		i := strings.Index("KMGTPE", suffix)
		if i < 0 || len(suffix) > 1 {
			return 0, fmt.Errorf("%q is not an amount of data", word)
		}
		shift = 10 * (i + 1)
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > math.MaxInt64>>shift:
		return 0, fmt.Errorf("%q is out of range", word)
	case err != nil:
		return 0, fmt.Errorf("%q is not an amount of data", word)
	}
	return n << shift, nil
}
