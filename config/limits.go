package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

var limitKeywords = []keyword{
	{
		name: "LoginGraceTime", where: outsideMatch,
		wants:    "a time such as 120 or 2m, or 0 for no limit",
		standard: []string{"120"},
		value:    one(func(s *Settings) *time.Duration { return &s.LoginGraceTime }, timeBetween(0, maxTime)),
	}, {
		name:     "MaxAuthTries",
		wants:    "a number from 1 to 1000",
		standard: []string{"6"},
		value:    one(func(s *Settings) *int { return &s.MaxAuthTries }, numberBetween(1, 1000)),
	}, {
		name:     "MaxConnections",
		wants:    "a number from 1, or none",
		standard: []string{"100"}, // with MaxChannels, a tenth of the descriptors that dist/culvertd.service gives us
		value:    one(func(s *Settings) *int { return &s.MaxConnections }, or("none", numberBetween(1, math.MaxInt32))),
	}, {
		name: "MaxStartups", where: outsideMatch,
		wants:    "a number, or start:rate:full",
		standard: []string{"10:30:100"},
		value: one(func(s *Settings) *MaxStartups { return &s.MaxStartups }, form[MaxStartups]{parseMaxStartups, func(m MaxStartups) string {
			return fmt.Sprintf("%d:%d:%d", m.Start, m.Rate, m.Full)
		}}),
	}, {
		name: "PerSourceMaxStartups", where: outsideMatch,
		wants:    "a number from 1, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *int { return &s.PerSourceMaxStartups }, or("none", numberBetween(1, math.MaxInt32))),
	}, {
		name: "PerSourceNetBlockSize", where: outsideMatch,
		wants:    "the lengths of networks, such as 32:128",
		standard: []string{"32:128"},
		value:    value{parseNetBlockSize, showNetBlockSize},
	}, {
		name: "PerSourcePenalties", where: outsideMatch, repeats: accumulates, // each word counts once
		wants:    "words such as authfail:5 or max:10m, or yes or no alone",
		standard: []string{"yes"},
		value:    value{parsePenalties, showPenalties},
	}, {
		name: "PerSourcePenaltyExemptList", where: outsideMatch,
		wants:    "addresses and networks with commas between, or none",
		standard: []string{"none"},
		value:    value{parseExemptList, showExemptList},
	}, {
		name:     "MaxSessions",
		wants:    "a number from 0 to 65535",
		standard: []string{"10"},
		value:    one(func(s *Settings) *int { return &s.MaxSessions }, numberBetween(0, 65535)),
	}, {
		name:     "MaxChannels",
		wants:    "a number from 1 to 65535",
		standard: []string{"64"},
		value:    one(func(s *Settings) *int { return &s.MaxChannels }, numberBetween(1, 65535)),
	}, {
		name:     "MaxStripes",
		wants:    "a number from 0 to 16",
		standard: []string{"8"},
		value:    one(func(s *Settings) *int { return &s.MaxStripes }, numberBetween(0, 16)),
	}, {
		name:     "ConnectTimeout",
		wants:    "a time from 1 second to 10 minutes",
		standard: []string{"10"},
		value:    one(func(s *Settings) *time.Duration { return &s.ConnectTimeout }, timeBetween(time.Second, 10*time.Minute)),
	}, {
		name:     "ClientAliveInterval",
		wants:    "a time such as 30 or 1m, or 0 for never",
		standard: []string{"0"},
		value:    one(func(s *Settings) *time.Duration { return &s.ClientAliveInterval }, timeBetween(0, maxTime)),
	}, {
		name:     "ClientAliveCountMax",
		wants:    "a number from 0 to 65535",
		standard: []string{"3"},
		value:    one(func(s *Settings) *int { return &s.ClientAliveCountMax }, numberBetween(0, 65535)),
	}, {
		name:     "ChannelTimeout",
		wants:    "words such as direct-tcpip=1h, in which * and ? may stand, or none",
		standard: []string{"none"},
		value:    list(func(s *Settings) *[]ChannelTimeout { return &s.ChannelTimeout }, "none", channelTimeout),
	}, {
		name:     "UnusedConnectionTimeout",
		wants:    "a time, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *time.Duration { return &s.UnusedConnectionTimeout }, or("none", timeBetween(0, maxTime))),
	}, {
		name: "DrainTimeout", where: outsideMatch,
		wants:    "a time, or none",
		standard: []string{"none"},
		value:    one(func(s *Settings) *time.Duration { return &s.DrainTimeout }, or("none", timeBetween(0, maxTime))),
	},
}

func parseMaxStartups(word string) (MaxStartups, error) {
	number := numberBetween(1, math.MaxInt32).parse
	start, rest, three := strings.Cut(word, ":")
	n, err := number(start)
	if err != nil {
		return MaxStartups{}, err
	}
	m := MaxStartups{Start: n, Rate: 30, Full: n} // sshd's rate, for the looks of it
	if !three {
		return m, nil
	}
	rate, full, ok := strings.Cut(rest, ":")
	if !ok {
		return MaxStartups{}, fmt.Errorf("%q is not start:rate:full", word)
	}
	if m.Rate, err = numberBetween(1, 100).parse(rate); err != nil {
		return MaxStartups{}, fmt.Errorf("rate %w", err)
	}
	if m.Full, err = number(full); err != nil {
		return MaxStartups{}, err
	}
	if m.Full < m.Start {
		return MaxStartups{}, fmt.Errorf("%q: full is less than start", word)
	}
	return m, nil
}

func parseNetBlockSize(words []string) (setter, error) {
	if len(words) > 1 {
		return nil, fmt.Errorf("%q is one value too many", words[1])
	}
	length4, length6, both := strings.Cut(words[0], ":")
	bits4, err := numberBetween(0, 32).parse(length4)
	if err != nil {
		return nil, err
	}
	bits6 := 128
	if both {
		if bits6, err = numberBetween(0, 128).parse(length6); err != nil {
			return nil, err
		}
	}
	return func(s *Settings) { s.PerSourceBits4, s.PerSourceBits6 = bits4, bits6 }, nil
}

func showNetBlockSize(s *Settings) [][]string {
	return [][]string{{fmt.Sprintf("%d:%d", s.PerSourceBits4, s.PerSourceBits6)}}
}

func parseExemptList(words []string) (setter, error) {
	return single(func(word string) (policy.AddressList, error) {
		if strings.EqualFold(word, "none") {
			return policy.AddressList{}, nil
		}
		return policy.ParseAddressList(word)
	}, func(s *Settings, l policy.AddressList) { s.PerSourcePenaltyExemptList = l })(words)
}

func showExemptList(s *Settings) [][]string {
	text := s.PerSourcePenaltyExemptList.String()
	if text == "" {
		text = "none"
	}
	return [][]string{{text}}
}

// channelTimeout is a pattern of types of channels and a time.
var channelTimeout = form[ChannelTimeout]{
	parse: func(word string) (ChannelTimeout, error) {
		kind, after, found := strings.Cut(word, "=")
		if !found || kind == "" {
			return ChannelTimeout{}, fmt.Errorf("%q is not type=time", word)
		}
		d, err := parseTime(after)
		return ChannelTimeout{kind, d}, err
	},
	show: func(t ChannelTimeout) string {
		return t.Type + "=" + strconv.FormatInt(int64(t.After/time.Second), 10)
	},
}
