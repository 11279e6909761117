"""Everything OpenTelemetry: spans, log records, events, baggage, metrics. The SDK is optional and imported late."""
