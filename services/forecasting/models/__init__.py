"""Forecasts of a series, arrays in and a frozen Forecast out: `forecast.forecast` is the way in."""
