// What front.html says in Portuguese, by the keys that its elements name.

/** @type {Record<string, string>} */
export const front = {
  tagline: "Acompanhe execuções de workflows ao vivo, sem perder nenhum evento.",
  guideAt: "/api/v1/sse/client/README.pt-BR.md",
  health: "Saúde",
  gatewayIs: "Este gateway está",
  healthy: "saudável",
  unhealthy: "com problemas",
  streamsAt: "Os navegadores abrem os streams em",
  withToken: "com um token da sua aplicação.",
  isOff: "A página que mostra as execuções ao vivo está desligada.",
  toHave: "Para ter a página neste endereço, defina",
  or: "ou",
  inFile: "no arquivo de configuração, e reinicie. Ela pede um token a todos.",
  toTry: "Para testar com execuções simuladas:",
  clientGuide: "Guia do cliente para o navegador",
};
