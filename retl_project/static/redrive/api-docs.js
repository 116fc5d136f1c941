// The API reference. "Try it out" goes by the session of the console; what changes something carries its CSRF token.
"use strict";
(function () {
  const place = document.getElementById("rd-api");
  if (!place || !window.SwaggerUIBundle) return;
  window.SwaggerUIBundle({
    url: place.dataset.document,
    domNode: place,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    docExpansion: "none",
    filter: true,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    persistAuthorization: false, // a key that somebody tries here is not kept in the browser
    validatorUrl: null,
    syntaxHighlight: { activated: false },
    requestInterceptor(request) {
      const isOurs = new URL(request.url, location.href).origin === location.origin;
      const method = (request.method || "GET").toUpperCase();
      if (isOurs && method !== "GET" && method !== "HEAD") request.headers["X-CSRFToken"] = place.dataset.token;
      return request;
    },
  });
})();
