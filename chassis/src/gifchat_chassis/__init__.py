"""The microservice chassis: code that every service process shares."""
