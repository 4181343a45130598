package spans

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// rootsPerSecond is how many requests a second begin a trace at one replica, unless a sampler is named: so many cost
// next to nothing, however busy it is, and are more than anybody reads.
const rootsPerSecond = 10

// Sampler says which requests are traced. The zero Sampler goes by the caller where the request is part of a trace, and
// takes ten others a second.
type Sampler struct {
	// Name is one of [Samplers], or empty.
	Name string
	// Argument is the ratio of those that have one, empty for all.
	Argument string
}

// The samplers, as OpenTelemetry names them
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration).
const (
	alwaysOn                = "always_on"
	alwaysOff               = "always_off"
	traceIDRatio            = "traceidratio"
	parentBasedAlwaysOn     = "parentbased_always_on"
	parentBasedAlwaysOff    = "parentbased_always_off"
	parentBasedTraceIDRatio = "parentbased_traceidratio"
)

// Samplers lists every name of a [Sampler].
func Samplers() []string {
	return []string{alwaysOn, alwaysOff, traceIDRatio, parentBasedAlwaysOn, parentBasedAlwaysOff, parentBasedTraceIDRatio}
}

var errRatio = errors.New("a ratio is a number from 0 to 1")

// Check returns what is wrong with the Sampler.
func (s Sampler) Check() error {
	if s.Name != "" && !slices.Contains(Samplers(), s.Name) {
		return fmt.Errorf("no sampler has this name: %q", s.Name)
	}
	if _, err := s.ratio(); err != nil {
		return err
	}
	return nil
}

func (s Sampler) ratio() (float64, error) {
	if s.Argument == "" {
		return 1, nil
	}
	ratio, err := strconv.ParseFloat(s.Argument, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) {
		return 0, errRatio
	}
	return ratio, nil
}

// of returns the SDK's sampler.
func (s Sampler) of() sdk.Sampler {
	ratio, _ := s.ratio() // checked before
	switch s.Name {
	case alwaysOn:
		return sdk.AlwaysSample()
	case alwaysOff:
		return sdk.NeverSample()
	case traceIDRatio:
		return sdk.TraceIDRatioBased(ratio)
	case parentBasedAlwaysOff:
		return sdk.ParentBased(sdk.NeverSample())
	case parentBasedTraceIDRatio:
		return sdk.ParentBased(sdk.TraceIDRatioBased(ratio))
	}
	return sdk.ParentBased(sdk.AlwaysSample())
}

// admit decides, before anything is made for it, whether a request may begin a trace. A nil admit leaves it to the SDK's
// sampler.
type admit func() bool

// admit returns that of the default: what is not going to be sampled then costs no more than this.
func (s Sampler) admit() admit {
	if s.Name != "" {
		return nil
	}
	return rate.NewLimiter(rootsPerSecond, rootsPerSecond).Allow
}

// ofRequests lets nothing begin a trace but a request to the data API, and all that comes of one share its fate.
type ofRequests struct{ sdk.Sampler }

// ShouldSample implements [sdk.Sampler].
func (s ofRequests) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if p.Kind == trace.SpanKindServer {
		return s.Sampler.ShouldSample(p)
	}
	return sdk.ParentBased(sdk.NeverSample()).ShouldSample(p)
}
